//! The attacks: each tries one way out and says whether it worked.
//! Names are those of the tests; what they do is what a hostile program would.

use std::fs;
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixStream};

use super::stage::Victims;

/// Runs one; true when it got out.
pub fn run(name: &str, victims: &Victims) -> bool {
    match on_files(name, victims).or_else(|| on_processes(name, victims)).or_else(|| on_the_kernel(name, victims)) {
        Some(got_out) => got_out,
        None => panic!("there is no attack `{name}`"),
    }
}

fn on_files(name: &str, victims: &Victims) -> Option<bool> {
    let Victims { home, key, repo, tree, private, pack, marker, .. } = victims;
    Some(match name {
        "read_a_secret" => fs::read(key).is_ok(),
        "write_into_the_home" => fs::write(home.join(".bashrc"), "evil").is_ok(),
        "list_the_home" => fs::read_dir(home).is_ok_and(|list| list.flatten().any(|entry| entry.file_name() == ".ssh")),
        "read_the_repository_configuration" => fs::read(repo.join(".git/config")).is_ok(),
        "plant_a_hook" => fs::write(repo.join(".git/hooks/post-checkout"), "#!/bin/sh\n").is_ok(),
        "move_a_branch" => fs::write(repo.join(".git/refs/heads/planted"), "0".repeat(40)).is_ok(),
        "write_into_the_main_worktree" => fs::write(repo.join("planted"), "x").is_ok(),
        "remove_a_pack" => fs::rename(pack, pack.with_extension("gone")).is_ok(),
        "chmod_a_key" => fs::set_permissions(key, fs::Permissions::from_mode(0o777)).is_ok(),
        "follow_a_link_out" => {
            let link = tree.join("link");
            symlink(key, &link).is_ok() && fs::write(&link, "x").is_ok()
        }
        "leave_by_dotdot" => fs::write(tree.join("../../../repo/planted"), "x").is_ok(),
        "write_the_private_configuration" => append(&private.join("config"), "[x]\n\ty = z\n").is_ok(),
        "redirect_the_worktree" => fs::write(private.join("worktrees/wt/commondir"), "/tmp/evil\n").is_ok(),
        "rename_the_pinned_link" => {
            let link = tree.join(".git");
            fs::rename(&link, tree.join("x")).is_ok() || fs::write(&link, "gitdir: /tmp/evil\n").is_ok()
        }
        "plant_in_tmp" => fs::write(marker, "x").is_ok() && marker_is_outside(marker),
        "set_the_user_id_bit" => {
            let file = tree.join("shell");
            fs::write(&file, "x").is_ok() && fs::set_permissions(&file, fs::Permissions::from_mode(0o4755)).is_ok()
        }
        "write_kernel_settings" => {
            let files = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches"];
            files.iter().any(|file| fs::OpenOptions::new().write(true).open(file).is_ok())
        }
        _ => return None,
    })
}

/// Inside a sandbox `/tmp` is its own: what matters is whether the one outside has it, which the stage looks at. The host's
/// has the host's other files, too.
fn marker_is_outside(marker: &std::path::Path) -> bool {
    let own = std::env::var("HOME").is_ok_and(|home| home.contains("repo.trees"));
    marker.exists() && !own
}

fn append(path: &std::path::Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().append(true).custom_flags(libc::O_NOFOLLOW).open(path)?.write_all(text.as_bytes())
}

fn on_processes(name: &str, victims: &Victims) -> Option<bool> {
    let Victims { process, tcp, abstract_name, socket, .. } = victims;
    let pid = nix::unistd::Pid::from_raw(*process);
    Some(match name {
        "read_a_process_environment" => fs::read(format!("/proc/{process}/environ"))
            .is_ok_and(|text| String::from_utf8_lossy(&text).contains("VICTIM_SECRET")),
        "enter_a_process_root" => fs::read_dir(format!("/proc/{process}/root/")).is_ok(),
        "signal_a_process" => nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).is_ok(),
        "lower_a_process_limit" => {
            let limit = libc::rlimit { rlim_cur: 1 << 40, rlim_max: 1 << 40 };
            // SAFETY: reads one structure that outlives the call, and writes nothing.
            unsafe { libc::prlimit(*process, libc::RLIMIT_CPU, &limit, std::ptr::null_mut()) == 0 }
        }
        "trace_a_process" => call(libc::SYS_ptrace, [libc::PTRACE_SEIZE.into(), i64::from(*process), 0, 0, 0]).is_ok(),
        "connect_to_loopback" => TcpStream::connect(("127.0.0.1", *tcp)).is_ok(),
        "connect_to_an_abstract_socket" => {
            SocketAddr::from_abstract_name(abstract_name).and_then(|address| UnixStream::connect_addr(&address)).is_ok()
        }
        "connect_to_a_socket_file" => UnixStream::connect(socket).is_ok(),
        _ => return None,
    })
}

fn on_the_kernel(name: &str, victims: &Victims) -> Option<bool> {
    let flags = i64::from(libc::CLONE_NEWUSER);
    Some(match name {
        // From a process with threads the kernel says EINVAL, once it has looked.
        "make_a_user_namespace" => call(libc::SYS_unshare, [flags, 0, 0, 0, 0]).is_ok_or_not(libc::EPERM),
        "clone_with_namespaces" => {
            let made = call(libc::SYS_clone, [flags | i64::from(libc::SIGCHLD), 0, 0, 0, 0]);
            match made {
                Ok(0) => std::process::exit(0),
                made => made.is_ok() || call(libc::SYS_clone3, [0, 0, 0, 0, 0]).is_ok_or_not(libc::ENOSYS),
            }
        }
        "use_keyrings" => call(libc::SYS_keyctl, [0, -3, 0, 0, 0]).is_ok(),
        "use_io_uring" => call(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]).is_ok_or_not(libc::EPERM),
        // With rubbish above the 32 bits that the kernel looks at.
        "type_into_the_terminal" => call(libc::SYS_ioctl, [0, 0x5412 | (1 << 40), 0, 0, 0]).is_ok_or_not(libc::EPERM),
        "other_calling_convention" => call(0x4000_0000 + 39, [0; 5]).is_ok_or_not(libc::EPERM),
        "open_a_packet_socket" => [libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG]
            .iter()
            .any(|family| call(libc::SYS_socket, [i64::from(*family), 2, 0, 0, 0]).is_ok_or_not(libc::EPERM)),
        "open_by_handle" => call(libc::SYS_open_by_handle_at, [0, 0, 0, 0, 0]).is_ok_or_not(libc::EPERM),
        "mount_something" => {
            let place = std::ffi::CString::new(victims.tree.to_string_lossy().as_bytes()).expect("a path");
            let kind = c"tmpfs".as_ptr() as i64;
            let mounted = call(libc::SYS_mount, [kind, place.as_ptr() as i64, kind, 0, 0]);
            mounted.is_ok() || call(libc::SYS_fsopen, [kind, 0, 0, 0, 0]).is_ok()
        }
        _ => return None,
    })
}

fn call(number: i64, [a, b, c, d, e]: [i64; 5]) -> Result<i64, i32> {
    // SAFETY: the attacks pass numbers and pointers to strings that live through the call; what the kernel makes of nonsense
    // is its answer, and this process exits right after.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    if result < 0 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
}

trait Answer {
    /// True unless the call was turned away with exactly this error: another one means that the kernel looked at it.
    fn is_ok_or_not(&self, errno: i32) -> bool;
}

impl Answer for Result<i64, i32> {
    fn is_ok_or_not(&self, errno: i32) -> bool {
        *self != Err(errno)
    }
}
