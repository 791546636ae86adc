//! The seccomp filters: system calls that a child has no business with, as a list of what is refused.
//!
//! A list of what is allowed would break builds that nobody thought of; what is refused here are ways around the other
//! walls and doors into the kernel that builds and agents do not need. Three things are in one program: numbers of another
//! calling convention, what answers "no such call" so that libraries fall back, and what answers "not permitted". The kernel
//! tries each program out on every call there is when it is installed, and runs all of them at a call that is not always allowed.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Refused whatever the arguments are.
const REFUSED: &[i64] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    OPEN_TREE_ATTR,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    QUOTACTL_FD,
    libc::SYS_syslog,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
];

/// Of one architecture only.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] =
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_uselib, libc::SYS__sysctl, libc::SYS_ustat];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

// The numbers are the same on every architecture; libc does not name them everywhere.
const OPEN_TREE_ATTR: i64 = 467;
const QUOTACTL_FD: i64 = 443;
const FCHMODAT2: i64 = 452;

/// Namespaces that a child could make to get rights in them.
const NEW_NAMESPACES: &[libc::c_int] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
    0x80, // CLONE_NEWTIME
];

/// Families of sockets that builds and tests use.
const FAMILIES: &[libc::c_int] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Requests on terminals that type into them (TIOCSTI), read them (TIOCLINUX) or load a line discipline (TIOCSETD).
const TERMINAL_REQUESTS: &[u64] = &[0x5412, 0x541C, 0x5423];

/// What differs between the levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterPlan {
    /// Whether the child has a pid namespace, in which there are only its own processes, and pid 1, which watches them.
    pub own_processes: bool,
    /// Whether the child has a network namespace of its own (or may use the host's).
    pub sockets: bool,
    /// Nobody else on the machine can go where the child writes. Then the modes of files that it opens need no look, and
    /// opening files costs nothing more (the kernel remembers which calls are always allowed).
    pub private: bool,
}

/// The program.
pub fn program(plan: FilterPlan) -> io::Result<BpfProgram> {
    // Answered with "no such call": the arguments lie in memory, where a filter cannot look, and every library that uses
    // it falls back to the older call, which is filtered.
    let absent: &[i64] = if plan.private { &[libc::SYS_clone3] } else { &[libc::SYS_clone3, libc::SYS_openat2] };
    let mut program = answered_by_number(absent)?;
    program.extend(dispatched(refused(plan)?)?);
    Ok(program)
}

/// How many parts the rules are divided into. A part is a list that is gone through from its beginning.
const PARTS: usize = 8;

/// The rules, of which only those are gone through that are near the number of the call: it is loaded when this begins.
fn dispatched(mut rules: Rules) -> io::Result<BpfProgram> {
    let in_each = rules.len().div_ceil(PARTS).max(1);
    let mut parts = Vec::new();
    while let Some(next) = rules.keys().nth(in_each).copied() {
        let rest = rules.split_off(&next);
        parts.push((std::mem::replace(&mut rules, rest), next));
    }
    // Each begins by itself with what it looks at, and jumps lead forward by so many steps: it stands anywhere. The last is what
    // a number comes to that is beyond all others.
    let (mut dispatch, mut compiled) = (BpfProgram::new(), compile(rules)?);
    for (rules, beyond) in &parts {
        let way = 2 * parts.len() + compiled.len() - dispatch.len() - 2;
        dispatch.push(step(AT_LEAST, 1, 0, number(*beyond)?));
        dispatch.push(step(GO, 0, 0, u32::try_from(way).map_err(io::Error::other)?));
        compiled.extend(compile(rules.clone())?);
    }
    dispatch.extend(compiled);
    Ok(dispatch)
}

fn compile(rules: Rules) -> io::Result<BpfProgram> {
    let refusal = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch).map_err(io::Error::other)?;
    filter.try_into().map_err(io::Error::other)
}

/// Installs the program: from here on it holds for this process and all its descendants.
pub fn install(program: &BpfProgram) -> io::Result<()> {
    seccompiler::apply_filter(program).map_err(io::Error::other)
}

/// Steps that answer by the number of a call alone, and else go on with what comes behind them. On x86_64 a number with bit 30
/// is a call of the x32 convention, which no rule names.
fn answered_by_number(absent: &[i64]) -> io::Result<BpfProgram> {
    const X32: u32 = 0x4000_0000;
    let answer = |errno: libc::c_int| step(ANSWER, 0, 0, libc::SECCOMP_RET_ERRNO | errno.cast_unsigned());
    let mut steps = vec![step(LOAD_NUMBER, 0, 0, 0)];
    if cfg!(target_arch = "x86_64") {
        steps.extend([step(AT_LEAST, 0, 1, X32), answer(libc::EPERM)]);
    }
    for call in absent {
        steps.extend([step(EQUAL, 0, 1, number(*call)?), answer(libc::ENOSYS)]);
    }
    Ok(steps)
}

const LOAD_NUMBER: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS; the number is the first word of seccomp_data
const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const GO: u16 = 0x05; // BPF_JMP | BPF_JA
const ANSWER: u16 = 0x06; // BPF_RET | BPF_K

fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

fn number(call: i64) -> io::Result<u32> {
    u32::try_from(call).map_err(io::Error::other)
}

fn refused(plan: FilterPlan) -> io::Result<Rules> {
    let mut rules: Rules = REFUSED.iter().chain(REFUSED_HERE).map(|call| (*call, Vec::new())).collect();
    for flag in NEW_NAMESPACES {
        let flag = u64::from(flag.cast_unsigned());
        add(&mut rules, libc::SYS_unshare, vec![masked(0, flag)?])?;
        // The low byte of clone's flags is the signal that tells of the child's end.
        if flag > 0xff {
            add(&mut rules, libc::SYS_clone, vec![masked(0, flag)?])?;
        }
    }
    for request in TERMINAL_REQUESTS {
        add(&mut rules, libc::SYS_ioctl, vec![condition(1, SeccompCmpOp::Eq, *request)?])?;
    }
    special_modes(&mut rules, plan.private)?;
    let unknown: Vec<_> = FAMILIES
        .iter()
        .map(|family| condition(0, SeccompCmpOp::Ne, u64::from(family.cast_unsigned())))
        .collect::<io::Result<_>>()?;
    let unknown = if plan.sockets { unknown } else { vec![condition(0, SeccompCmpOp::Ge, 0)?] };
    add(&mut rules, libc::SYS_socket, unknown)?;
    if !plan.own_processes {
        rules.extend(OTHERS_MEMORY.iter().map(|call| (*call, Vec::new())));
        if !plan.sockets {
            // One that is not connected can be sent from, to any address.
            let kind = SeccompCmpOp::MaskedEq(0xf);
            add(
                &mut rules,
                libc::SYS_socketpair,
                vec![condition(1, kind, u64::from(libc::SOCK_DGRAM.cast_unsigned()))?],
            )?;
        }
    }
    others_limits(&mut rules, plan.own_processes)?;
    Ok(rules)
}

/// Memory that is shared by a number that anybody may know, and tracing: harmless where nobody else is.
const OTHERS_MEMORY: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semctl,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
];

/// Limits, priorities and the place of other processes: neither the fence nor the namespace covers these. In a pid namespace
/// that is pid 1; groups and users of processes reach to where the child was started from.
fn others_limits(rules: &mut Rules, own_processes: bool) -> io::Result<()> {
    let another = |argument| match own_processes {
        true => condition(argument, SeccompCmpOp::Eq, 1),
        false => condition(argument, SeccompCmpOp::Ne, 0),
    };
    let calls = [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
    ];
    for call in calls {
        add(rules, call, vec![another(0)?])?;
    }
    // `WHICH, WHO`; of one process is 0 for `setpriority`, 1 for `ioprio_set`.
    for (call, one_process) in [(libc::SYS_setpriority, 0), (libc::SYS_ioprio_set, 1)] {
        add(rules, call, vec![condition(0, SeccompCmpOp::Ne, one_process)?])?;
        add(rules, call, vec![another(1)?])?;
    }
    Ok(())
}

/// A copy of a shell with the set-user-id bit would lend the user's rights to everybody else on the machine.
fn special_modes(rules: &mut Rules, private: bool) -> io::Result<()> {
    let mut calls = vec![(libc::SYS_fchmod, 1), (libc::SYS_fchmodat, 2), (FCHMODAT2, 2)];
    calls.push((libc::SYS_mknodat, 2));
    #[cfg(target_arch = "x86_64")]
    calls.extend([(libc::SYS_chmod, 1), (libc::SYS_creat, 1), (libc::SYS_mknod, 1)]);
    if !private {
        calls.push((libc::SYS_openat, 3));
        #[cfg(target_arch = "x86_64")]
        calls.push((libc::SYS_open, 2));
    }
    for (call, argument) in calls {
        for bit in [libc::S_ISUID, libc::S_ISGID] {
            let mut conditions = vec![masked(argument, u64::from(bit))?];
            // The mode of an open that makes no file is whatever the register held.
            let flags = match call {
                libc::SYS_openat => Some(2),
                #[cfg(target_arch = "x86_64")]
                libc::SYS_open => Some(1),
                _ => None,
            };
            let Some(flags) = flags else {
                add(rules, call, conditions)?;
                continue;
            };
            let temporary = u64::from(libc::O_TMPFILE.cast_unsigned() & !libc::O_DIRECTORY.cast_unsigned());
            for makes in [u64::from(libc::O_CREAT.cast_unsigned()), temporary] {
                conditions.truncate(1);
                conditions.push(masked(flags, makes)?);
                add(rules, call, conditions.clone())?;
            }
        }
    }
    Ok(())
}

fn add(rules: &mut Rules, call: i64, conditions: Vec<SeccompCondition>) -> io::Result<()> {
    let rule = SeccompRule::new(conditions).map_err(io::Error::other)?;
    rules.entry(call).or_default().push(rule);
    Ok(())
}

/// Only the low 32 bits are compared: that is what the kernel looks at, whatever the rest of the register holds.
fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> io::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(io::Error::other)
}

fn masked(argument: u8, bits: u64) -> io::Result<SeccompCondition> {
    condition(argument, SeccompCmpOp::MaskedEq(bits), bits)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// Runs a program as the kernel does; the rest of a call's arguments is as good as any.
    fn run(program: &BpfProgram, call: u32, arguments: [u32; 6]) -> u32 {
        const ARCH: u32 = 0xc000_003e;
        let word = |at: u32| match at {
            0 => call,
            4 => ARCH,
            16.. if (at - 16).is_multiple_of(8) => arguments[(at as usize - 16) / 8],
            _ => 0,
        };
        let (mut at, mut value) = (0usize, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            let jump = |taken: bool| usize::from(if taken { jt } else { jf });
            at += 1 + match code {
                LOAD_NUMBER => {
                    value = word(k);
                    0
                }
                0x54 => {
                    value &= k;
                    0
                }
                GO => k as usize,
                EQUAL => jump(value == k),
                AT_LEAST => jump(value >= k),
                0x25 => jump(value > k),
                ANSWER => return k,
                other => panic!("a step that no rule makes: {other:#x}"),
            };
        }
    }

    #[test]
    fn each_rule_is_found_where_it_is_and_no_other_call_is_refused() {
        let refusal = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
        for (own_processes, sockets, private) in [(true, true, true), (true, true, false), (false, false, true)] {
            let plan = FilterPlan { own_processes, sockets, private };
            let (program, rules) = (program(plan).expect("a program"), refused(plan).expect("rules"));
            assert!(program.len() < 1000, "{}", program.len());
            for call in 0..600u32 {
                let answer = run(&program, call, [0; 6]);
                let expected = match rules.get(&i64::from(call)) {
                    _ if i64::from(call) == libc::SYS_clone3 => libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned(),
                    _ if i64::from(call) == libc::SYS_openat2 && !private => {
                        libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned()
                    }
                    Some(whatever) if whatever.is_empty() => refusal,
                    // What its arguments decide: none of these is refused.
                    Some(_) => continue,
                    None => libc::SECCOMP_RET_ALLOW,
                };
                assert_eq!(answer, expected, "call {call}");
            }
            let call = |call: i64| u32::try_from(call).expect("a number");
            assert_eq!(run(&program, call(libc::SYS_ioctl), [0, 0x5412, 0, 0, 0, 0]), refusal, "TIOCSTI");
            assert_eq!(run(&program, call(libc::SYS_ioctl), [0, 0x5413, 0, 0, 0, 0]), libc::SECCOMP_RET_ALLOW);
            assert_eq!(run(&program, call(libc::SYS_unshare), [0x1000_0000, 0, 0, 0, 0, 0]), refusal, "CLONE_NEWUSER");
            assert_eq!(run(&program, call(libc::SYS_fchmodat), [0, 0, 0o4755, 0, 0, 0]), refusal, "set-user-id");
            assert_eq!(run(&program, 0x4000_0000 | call(libc::SYS_read), [0; 6]), refusal, "x32");
        }
    }
}
