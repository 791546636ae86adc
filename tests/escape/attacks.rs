//! The attacks: each tries one way out and says whether it worked.
//! Names are those of the tests; what they do is what a hostile program would.

use std::fs;
use std::io::{self, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

use super::stage::Victims;

/// Runs one; true when it got out.
pub fn run(name: &str, victims: &Victims) -> bool {
    let tried = on_files(name, victims)
        .or_else(|| on_the_repository(name, victims))
        .or_else(|| on_the_ties(name, victims))
        .or_else(|| on_processes(name, victims))
        .or_else(|| on_sockets(name, victims))
        .or_else(|| on_the_kernel(name, victims))
        .or_else(|| on_its_mounts(name, victims));
    tried.unwrap_or_else(|| panic!("there is no attack `{name}`"))
}

fn on_files(name: &str, victims: &Victims) -> Option<bool> {
    let Victims { home, key, repo, tree, sibling, marker, shared_marker, .. } = victims;
    Some(match name {
        "read_a_secret" => fs::read(key).is_ok(),
        "write_into_the_home" => fs::write(home.join(".bashrc"), "evil").is_ok(),
        "add_an_authorized_key" => fs::write(home.join(".ssh/authorized_keys"), "evil").is_ok(),
        "list_the_home" => fs::read_dir(home).is_ok_and(|list| list.flatten().any(|entry| entry.file_name() == ".ssh")),
        "read_a_sibling" => fs::read(sibling).is_ok(),
        "write_into_a_sibling" => fs::write(sibling.with_file_name("planted"), "x").is_ok(),
        "chmod_a_key" => fs::set_permissions(key, fs::Permissions::from_mode(0o777)).is_ok(),
        "touch_a_key" => {
            let path = path_of(key);
            // SAFETY: reads a string that outlives the call.
            unsafe { libc::utimensat(libc::AT_FDCWD, path.as_ptr(), std::ptr::null(), 0) == 0 }
        }
        "follow_a_link_out" => through_a_link(tree, key),
        "follow_a_link_to_a_hook" => through_a_link(tree, &repo.join(".git/hooks/post-checkout")),
        "leave_by_dotdot" => fs::write(tree.join("../../../repo/planted"), "x").is_ok(),
        "plant_in_tmp" => fs::write(marker, "x").is_ok() && is_the_host_s(marker),
        "plant_in_shared_memory" => fs::write(shared_marker, "x").is_ok() && is_the_host_s(shared_marker),
        "set_the_user_id_bit" => {
            let file = tree.join("shell");
            fs::write(&file, "x").is_ok() && fs::set_permissions(&file, fs::Permissions::from_mode(0o4755)).is_ok()
        }
        "write_into_the_system" => {
            let files = ["/etc/treehand-escape", "/usr/local/bin/treehand-escape", "/usr/lib/treehand-escape"];
            files.iter().any(|file| fs::write(file, "x").is_ok())
        }
        "use_a_descriptor_that_was_left_open" => {
            (3..64).any(|number| fs::read(format!("/proc/self/fd/{number}")).is_ok_and(|text| text == b"secret"))
        }
        _ => return None,
    })
}

fn through_a_link(tree: &Path, target: &Path) -> bool {
    let link = tree.join("link");
    symlink(target, &link).is_ok() && fs::write(&link, "x").is_ok()
}

/// Inside a sandbox `/tmp` and shared memory are its own: what matters is whether those outside have the marker, which the
/// stage looks at. The host's is where the host's other processes are.
fn is_the_host_s(marker: &Path) -> bool {
    let inside = fs::read_to_string("/proc/1/cmdline").is_ok_and(|text| text.contains("__shim"));
    marker.exists() && !inside
}

fn on_the_repository(name: &str, victims: &Victims) -> Option<bool> {
    let Victims { repo, tree, pack, .. } = victims;
    let git = repo.join(".git");
    Some(match name {
        "read_the_repository_configuration" => fs::read(git.join("config")).is_ok(),
        "write_the_repository_configuration" => append(&git.join("config"), "[x]\n\ty = z\n").is_ok(),
        "plant_attributes" => fs::write(git.join("info/attributes"), "* filter=x\n").is_ok(),
        "plant_a_hook" => fs::write(git.join("hooks/post-checkout"), "#!/bin/sh\n").is_ok(),
        "move_a_branch" => fs::write(git.join("refs/heads/planted"), "0".repeat(40)).is_ok(),
        "move_the_head" => fs::write(git.join("HEAD"), "ref: refs/heads/planted\n").is_ok(),
        "rewrite_packed_refs" => append(&git.join("packed-refs"), "#\n").is_ok(),
        "write_into_the_main_worktree" => fs::write(repo.join("planted"), "x").is_ok(),
        "read_the_journal" => fs::read(git.join("treehand/state.db")).is_ok(),
        "remove_a_pack" => fs::rename(pack, pack.with_extension("gone")).is_ok(),
        "truncate_a_pack" => fs::OpenOptions::new().write(true).truncate(true).open(pack).is_ok(),
        "add_a_pack" => fs::write(pack.with_file_name("planted.pack"), "x").is_ok(),
        "hard_link_a_pack" => fs::hard_link(pack, tree.join("pack")).is_ok(),
        _ => return None,
    })
}

/// What says where a workspace belongs: who changes that chooses the git dir that somebody else's git works with next.
fn on_the_ties(name: &str, victims: &Victims) -> Option<bool> {
    let Victims { tree, private, .. } = victims;
    Some(match name {
        "write_the_private_configuration" => append(&private.join("config"), "[x]\n\ty = z\n").is_ok(),
        "plant_a_private_hook" => {
            let hooks = private.join("hooks");
            let made = fs::create_dir_all(&hooks);
            made.is_ok() && fs::write(hooks.join("post-commit"), "#!/bin/sh\n").is_ok()
        }
        "swap_the_private_hooks" => symlink(tree, private.join("hooks.new")).is_ok(),
        "unlink_the_packed_refs" => fs::remove_file(private.join("packed-refs")).is_ok(),
        "redirect_the_worktree" => fs::write(private.join("worktrees/wt/commondir"), "/tmp/evil\n").is_ok(),
        "write_the_worktree_configuration" => {
            fs::write(private.join("worktrees/wt/config.worktree"), "[core]\n\tfsmonitor = evil\n").is_ok()
        }
        "rename_the_pinned_link" => {
            let link = tree.join(".git");
            fs::rename(&link, tree.join("x")).is_ok() || fs::write(&link, "gitdir: /tmp/evil\n").is_ok()
        }
        _ => return None,
    })
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().append(true).custom_flags(libc::O_NOFOLLOW).open(path)?.write_all(text.as_bytes())
}

fn path_of(path: &Path) -> std::ffi::CString {
    std::ffi::CString::new(path.to_string_lossy().as_bytes()).expect("a path")
}

fn on_processes(name: &str, victims: &Victims) -> Option<bool> {
    let Victims { process, key, .. } = victims;
    let continued =
        |pid: i32| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGCONT).is_ok();
    let parent = nix::unistd::getppid();
    Some(match name {
        "read_a_process_environment" => fs::read(format!("/proc/{process}/environ"))
            .is_ok_and(|text| String::from_utf8_lossy(&text).contains("VICTIM_SECRET")),
        "read_a_command_line" => fs::read(format!("/proc/{process}/cmdline"))
            .is_ok_and(|text| String::from_utf8_lossy(&text).contains("sleep")),
        "enter_a_process_root" => fs::read_dir(format!("/proc/{process}/root/")).is_ok(),
        "leave_by_the_root_of_the_parent" => fs::read(format!("/proc/{parent}/root{}", key.display())).is_ok(),
        "signal_a_process" => continued(*process),
        "signal_the_parent" => continued(parent.as_raw()),
        "lower_a_process_limit" => {
            let limit = libc::rlimit { rlim_cur: 1 << 40, rlim_max: 1 << 40 };
            // SAFETY: reads one structure that outlives the call, and writes nothing.
            unsafe { libc::prlimit(*process, libc::RLIMIT_CPU, &limit, std::ptr::null_mut()) == 0 }
        }
        "change_a_process_priority" => call(libc::SYS_setpriority, [0, i64::from(*process), 10, 0, 0]).is_ok(),
        "pin_a_process" => {
            let first = 1u64;
            let mask = std::ptr::from_ref(&first) as i64;
            call(libc::SYS_sched_setaffinity, [i64::from(*process), 8, mask, 0, 0]).is_ok()
        }
        "write_the_memory_of_a_process" => {
            fs::OpenOptions::new().write(true).open(format!("/proc/{process}/mem")).is_ok()
        }
        "trace_a_process" => call(libc::SYS_ptrace, [libc::PTRACE_SEIZE.into(), i64::from(*process), 0, 0, 0]).is_ok(),
        _ => return None,
    })
}

fn on_sockets(name: &str, victims: &Victims) -> Option<bool> {
    let Victims { tcp, udp, abstract_name, socket, .. } = victims;
    Some(match name {
        "connect_to_loopback" => TcpStream::connect(("127.0.0.1", *tcp)).is_ok(),
        // Where nobody listens, the second one is refused.
        "send_a_datagram" => UdpSocket::bind("127.0.0.1:0").is_ok_and(|from| {
            let sent = from.connect(("127.0.0.1", *udp)).and_then(|()| from.send(b"x"));
            sent.is_ok() && from.send(b"x").is_ok()
        }),
        "connect_to_an_abstract_socket" => {
            SocketAddr::from_abstract_name(abstract_name).and_then(|address| UnixStream::connect_addr(&address)).is_ok()
        }
        "connect_to_a_socket_file" => UnixStream::connect(socket).is_ok(),
        "open_a_packet_socket" => [libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG]
            .iter()
            .any(|family| call(libc::SYS_socket, [i64::from(*family), 2, 0, 0, 0]).is_ok_or_not(libc::EPERM)),
        _ => return None,
    })
}

fn on_the_kernel(name: &str, victims: &Victims) -> Option<bool> {
    let flags = i64::from(libc::CLONE_NEWUSER);
    let looked_at = |number: i64| call(number, [0; 5]).is_ok_or_not(libc::EPERM);
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
        "enter_a_namespace" => {
            let opened = fs::File::open(format!("/proc/{}/ns/net", victims.process));
            let own = fs::File::open("/proc/self/ns/user").expect("our own");
            let handle = i64::from(opened.as_ref().unwrap_or(&own).as_raw_fd());
            opened.is_ok() || call(libc::SYS_setns, [handle, 0, 0, 0, 0]).is_ok_or_not(libc::EPERM)
        }
        "change_the_root" => looked_at(libc::SYS_chroot) || looked_at(libc::SYS_pivot_root),
        "use_keyrings" => call(libc::SYS_keyctl, [0, -3, 0, 0, 0]).is_ok(),
        "use_io_uring" => call(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]).is_ok_or_not(libc::EPERM),
        "ask_for_what_reaches_into_others" => [
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_kcmp,
            libc::SYS_pidfd_getfd,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_init_module,
            libc::SYS_name_to_handle_at,
            libc::SYS_fanotify_init,
            libc::SYS_add_key,
            libc::SYS_request_key,
        ]
        .into_iter()
        .any(looked_at),
        // Into it, out of it, and with rubbish above the 32 bits that the kernel looks at.
        "type_into_the_terminal" => [0x5412, 0x541C, 0x5423, 0x5412 | (1 << 40)]
            .iter()
            .any(|request| call(libc::SYS_ioctl, [0, *request, 0, 0, 0]).is_ok_or_not(libc::EPERM)),
        "other_calling_convention" => call(0x4000_0000 + 39, [0; 5]).is_ok_or_not(libc::EPERM),
        "open_by_handle" => looked_at(libc::SYS_open_by_handle_at),
        "write_kernel_settings" => {
            let files = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches"];
            files.iter().any(|file| fs::OpenOptions::new().write(true).open(file).is_ok())
        }
        _ => return None,
    })
}

fn on_its_mounts(name: &str, victims: &Victims) -> Option<bool> {
    let tree = path_of(&victims.tree);
    Some(match name {
        "mount_something" => {
            let kind = c"tmpfs".as_ptr() as i64;
            let mounted = call(libc::SYS_mount, [kind, tree.as_ptr() as i64, kind, 0, 0]);
            mounted.is_ok() || call(libc::SYS_fsopen, [kind, 0, 0, 0, 0]).is_ok()
        }
        "unmount_a_pin" => {
            let pin = path_of(&victims.tree.join(".git"));
            let detach = i64::from(libc::MNT_DETACH);
            call(libc::SYS_umount2, [pin.as_ptr() as i64, detach, 0, 0, 0]).is_ok_or_not(libc::EPERM)
        }
        "make_a_device" => {
            let place = path_of(&victims.tree.join("device"));
            let null = i64::try_from(libc::makedev(1, 3)).expect("a device");
            let made = call(
                libc::SYS_mknodat,
                [i64::from(libc::AT_FDCWD), place.as_ptr() as i64, i64::from(libc::S_IFCHR | 0o666), null, 0],
            );
            made.is_ok()
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
