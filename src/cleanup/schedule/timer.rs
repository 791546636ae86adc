//! Cleaning at night, as a timer of the user's systemd manager: looked at, installed, and taken away.
//!
//! Nothing of somebody else's is overwritten or removed; what somebody changed of ours is put aside. An installation that does not
//! succeed leaves what was there before.

use std::io;
use std::path::{Path, PathBuf};

use super::units as files;
use super::units::{SERVICE, Standing, TIMER, Wanted};
use crate::model::Timestamp;
use crate::sys::env;
use crate::sys::fs::{self, FsError};
use crate::sys::units::{self, UnitsError};

/// Most bytes of a unit file that are looked at.
const READ_MOST: u64 = 1 << 20;

/// Why nothing was scheduled, or still is.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The manager is not there, or would not.
    #[error(transparent)]
    Units(#[from] UnitsError),
    /// A file or directory.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A file is there that treehand did not write.
    #[error("{} is not treehand's", .0.display())]
    Foreign(PathBuf),
    /// There is no directory for configuration.
    #[error("neither HOME nor XDG_CONFIG_HOME says where your configuration is")]
    Homeless,
}

/// One of the two files.
#[derive(Debug)]
struct UnitFile {
    path: PathBuf,
    /// Whose it is, with its text; nothing where there is none.
    found: Option<(Standing, String)>,
}

/// The two files.
#[derive(Debug)]
struct Files {
    timer: UnitFile,
    service: UnitFile,
}

/// How the schedule stands.
#[derive(Debug, Default)]
pub struct Schedule {
    /// Both files are there, and ours.
    pub installed: bool,
    /// The timer.
    pub timer: Option<PathBuf>,
    /// The service.
    pub service: Option<PathBuf>,
    /// When it begins, as systemd reads it.
    pub calendar: Option<String>,
    /// What is started.
    pub command: Option<Vec<String>>,
    /// When it begins next.
    pub next: Option<Timestamp>,
    /// When it began last.
    pub last: Option<Timestamp>,
    /// How that came out, in systemd's word.
    pub last_result: Option<String>,
    /// With which exit code.
    pub last_exit: Option<i64>,
    /// Whether it begins when the user is not logged in, too.
    pub linger: Option<bool>,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

/// What was taken away.
#[derive(Debug, Default)]
pub struct Removed {
    /// The files.
    pub files: Vec<PathBuf>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Looks at it; `own` is the program that should be started.
pub fn look(own: &Path) -> Result<Schedule, ScheduleError> {
    let files = Files::read()?;
    let mut schedule = Schedule { installed: files.all().iter().all(|file| file.is_ours()), ..Schedule::default() };
    schedule.linger = units::linger();
    let there: Vec<&UnitFile> = files.all().into_iter().filter(|file| file.found.is_some()).collect();
    if there.is_empty() {
        return Ok(schedule);
    }
    let text = |file: &UnitFile| file.found.as_ref().map(|(_, text)| text.clone()).unwrap_or_default();
    (schedule.timer, schedule.service) = (files.timer.there(), files.service.there());
    schedule.calendar = files::calendar_of(&text(&files.timer)).map(str::to_owned);
    schedule.command = files::command_of(&text(&files.service));
    schedule.problems = files.all().into_iter().filter_map(UnitFile::problem).collect();
    schedule.problems.extend(program_problem(schedule.command.as_deref(), own)?);
    if schedule.installed
        && let Err(error) = ask(&mut schedule)
    {
        schedule.problems.push(error.to_string());
    }
    Ok(schedule)
}

/// What the manager says.
fn ask(schedule: &mut Schedule) -> Result<(), UnitsError> {
    units::reach()?;
    let timer = units::properties(TIMER, "UnitFileState,ActiveState,NeedDaemonReload")?;
    let is = |name: &str, word: &str| timer.get(name).is_some_and(|value| value == word);
    if !is("UnitFileState", "enabled") || !is("ActiveState", "active") {
        schedule.problems.push("the timer is not at work; put it there again: treehand clean schedule install".into());
    }
    if is("NeedDaemonReload", "yes") {
        schedule.problems.push("systemd has not read the files as they are: systemctl --user daemon-reload".into());
    }
    (schedule.next, schedule.last) = units::moments(TIMER)?;
    let service = units::properties(SERVICE, "Result,ExecMainStatus,ExecMainExitTimestampMonotonic")?;
    let number = |name: &str| service.get(name).and_then(|value| value.parse::<i64>().ok());
    // What the manager has not seen end since it started is not told.
    if number("ExecMainExitTimestampMonotonic").is_some_and(|moment| moment > 0) {
        (schedule.last_result, schedule.last_exit) = (service.get("Result").cloned(), number("ExecMainStatus"));
    }
    Ok(())
}

fn program_problem(command: Option<&[String]>, own: &Path) -> Result<Option<String>, FsError> {
    let Some(program) = command.and_then(<[String]>::first).map(Path::new) else { return Ok(None) };
    Ok(if !fs::exists(program)? {
        Some(format!("the program that it starts is gone: {}", program.display()))
    } else if !fs::is_same(program, own)? {
        Some(format!("the program that it starts is another than this one: {}", program.display()))
    } else {
        None
    })
}

/// Writes both files and lets the manager start the timer; what a person should know about it.
pub fn install(wanted: &Wanted) -> Result<Vec<String>, ScheduleError> {
    units::reach()?;
    let former = Files::read()?.ours()?;
    let mut notes = Vec::new();
    former.timer.path.parent().map_or(Ok(()), fs::create_dir_all)?;
    for file in former.all() {
        notes.extend(file.put_aside()?);
    }
    let texts = [(&former.service.path, wanted.service()), (&former.timer.path, wanted.timer())];
    let write = || -> Result<(), ScheduleError> {
        texts.iter().try_for_each(|(path, text)| fs::write_atomic(path, text.as_bytes()))?;
        units::reload()?;
        Ok(units::enable(TIMER)?)
    };
    if let Err(error) = write() {
        if let Err(worse) = former.put_back() {
            tracing::warn!(error = %worse, "what was there before is not put back");
        }
        return Err(error);
    }
    Ok(notes)
}

/// Stops the timer and takes both files away.
pub fn remove() -> Result<Removed, ScheduleError> {
    let files = Files::read()?.ours()?;
    let there: Vec<&UnitFile> = files.all().into_iter().filter(|file| file.found.is_some()).collect();
    let mut removed = Removed::default();
    if there.is_empty() {
        return Ok(removed);
    }
    let manager = units::reach();
    match &manager {
        Ok(()) if files.timer.found.is_some() => units::disable(TIMER)?,
        Ok(()) => {}
        Err(error) => {
            removed.notes.push(format!("a manager that is at work knows the timer until it is started again: {error}"));
            remove_if_there(&files.timer.wanted_by())?;
        }
    }
    for file in there {
        removed.notes.extend(file.put_aside()?);
        remove_if_there(&file.path)?;
        removed.files.push(file.path.clone());
    }
    if manager.is_ok() {
        units::reload()?;
        // It may never have failed.
        if let Err(error) = units::forget_failure(SERVICE) {
            tracing::debug!(%error, "no failure is forgotten");
        }
    }
    Ok(removed)
}

fn remove_if_there(path: &Path) -> Result<(), FsError> {
    match fs::remove_file(path) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Files {
    fn read() -> Result<Files, ScheduleError> {
        let directory = env::config_home().ok_or(ScheduleError::Homeless)?.join("systemd/user");
        let read = |name: &str| UnitFile::read(directory.join(name));
        Ok(Files { timer: read(TIMER)?, service: read(SERVICE)? })
    }

    fn all(&self) -> [&UnitFile; 2] {
        [&self.timer, &self.service]
    }

    /// The same, when none of them is somebody else's.
    fn ours(self) -> Result<Files, ScheduleError> {
        let foreign = |file: &UnitFile| matches!(file.found, Some((Standing::Foreign, _))).then(|| file.path.clone());
        let path = self.all().into_iter().find_map(foreign);
        path.map_or(Ok(self), |path| Err(ScheduleError::Foreign(path)))
    }

    /// Makes everything what it was when it was read, also where the manager had begun to take it.
    fn put_back(&self) -> Result<(), ScheduleError> {
        if self.timer.found.is_none() {
            remove_if_there(&self.timer.wanted_by())?;
        }
        self.all().into_iter().try_for_each(UnitFile::restore)?;
        Ok(units::reload()?)
    }
}

impl UnitFile {
    fn read(path: PathBuf) -> Result<UnitFile, FsError> {
        let (directory, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
        let found = if !fs::exists(&path)? {
            None
        } else if path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
            let bytes = fs::read_beneath(directory, Path::new(name), READ_MOST)?;
            let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            Some((files::standing(&text), text))
        } else {
            // A link, to /dev/null for one that is masked: nobody but its maker knows what it is for.
            Some((Standing::Foreign, String::new()))
        };
        Ok(UnitFile { path, found })
    }

    fn is_ours(&self) -> bool {
        matches!(self.found, Some((Standing::Ours | Standing::Changed, _)))
    }

    fn there(&self) -> Option<PathBuf> {
        self.found.as_ref().map(|_| self.path.clone())
    }

    /// The link by which the manager starts it.
    fn wanted_by(&self) -> PathBuf {
        self.path.with_file_name("timers.target.wants").join(self.path.file_name().unwrap_or_default())
    }

    fn problem(&self) -> Option<String> {
        let what = match self.found {
            Some((Standing::Ours, _)) => return None,
            Some((Standing::Changed, _)) => "was changed by hand",
            Some((Standing::Foreign, _)) => "is not treehand's",
            None => "is missing",
        };
        Some(format!("{} {what}", self.path.display()))
    }

    /// Keeps what somebody changed beside it, where systemd does not look at it; what is to be said about that.
    fn put_aside(&self) -> Result<Option<String>, FsError> {
        let Some((Standing::Changed, text)) = &self.found else { return Ok(None) };
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".changed");
        let aside = self.path.with_file_name(name);
        fs::write_atomic(&aside, text.as_bytes())?;
        Ok(Some(format!("{} was changed by hand; that is kept in {}", self.path.display(), aside.display())))
    }

    /// Makes it what it was when it was read.
    fn restore(&self) -> Result<(), FsError> {
        match &self.found {
            Some((_, text)) => fs::write_atomic(&self.path, text.as_bytes()),
            None => remove_if_there(&self.path),
        }
    }
}
