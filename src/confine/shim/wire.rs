//! The frames between a supervisor and a shim: four bytes of length, then JSON.
//! Both ends are treehand's own; a frame that cannot be read ends the conversation.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::confine::policy::LimitKind;
use crate::confine::proxy::Line;
use crate::model::ProcId;
use crate::model::agent::{AgentReport, AgentRequest, BudgetPart, Reply};
use crate::model::health::{Health, ToolUse};

/// Most bytes of a frame.
const FRAME_MAX: u32 = 1 << 20;

/// The version of what is said at a shim's door.
const VERSION: u32 = 1;

/// What a successor says first to a shim whose supervisor died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    version: u32,
    /// Which supervisor of the run it is: a later one has a higher number.
    pub epoch: u64,
}

impl Greeting {
    /// The greeting of the supervisor with this number.
    pub fn of(epoch: u64) -> Greeting {
        Greeting { version: VERSION, epoch }
    }

    /// True when it is in a version that is spoken here.
    pub fn is_known(&self) -> bool {
        self.version == VERSION
    }
}

/// What one says who wants to know how the child is, and takes nothing over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    version: u32,
    asks: Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
    Health,
}

impl Question {
    /// How is the child?
    pub fn health() -> Question {
        Question { version: VERSION, asks: Asked::Health }
    }

    /// True when it is in a version that is spoken here.
    pub fn is_known(&self) -> bool {
        self.version == VERSION
    }
}

/// The first thing that is said at a shim's door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FirstWord {
    /// By a successor.
    Greeting(Greeting),
    /// By one who looks.
    Question(Question),
}

/// From the supervisor to the shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Ask the child to end, and kill it after a grace.
    Stop {
        /// In milliseconds.
        grace_ms: u64,
    },
    /// Kill it.
    Kill,
    /// It waits for an answer from now on, or does not any more: whoever waits for a person is not idle.
    Park(bool),
    /// It used a tool: who does is not silent.
    Tool(ToolUse),
    /// What its agent asked for.
    Answer {
        /// The number of the request.
        n: u64,
        /// The answer.
        reply: Reply,
    },
}

/// From the shim to the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The child runs.
    Started {
        /// The shim itself: with it everything of the attempt ends.
        process: Option<ProcId>,
    },
    /// How it is: at each change, and to whoever asks.
    Health(Health),
    /// What its agent said of itself so far.
    Agent(Box<AgentReport>),
    /// Its agent asks for something: said again to each supervisor, until one has answered.
    Asks(AgentRequest),
    /// The child was not started.
    Refused(Refusal),
    /// It ended.
    Ended(ExitRecord),
}

/// Why a child was not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What was tried.
    pub step: String,
    /// The number of the error.
    pub errno: Option<i32>,
    /// The error in words.
    pub text: String,
    /// Confinement is fine, the program is not.
    pub program: bool,
}

/// How a child ended: what is on disk when everybody else is gone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Its exit code.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why it was stopped, if it was.
    pub stopped: Option<Stopped>,
    /// Processes that it left behind and that were killed.
    pub left_behind: usize,
    /// What went through the proxy.
    #[serde(default)]
    pub network: Vec<Line>,
    /// What its agent said of itself.
    #[serde(default)]
    pub agent: Option<Box<AgentReport>>,
    /// What its agent asked for, and nobody has answered.
    #[serde(default)]
    pub unanswered: Vec<AgentRequest>,
}

/// Why a child was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// Somebody asked.
    Asked,
    /// Its deadline passed.
    Timeout,
    /// It said and did nothing for as long as it may.
    Idle,
    /// It said nothing at all for as long as it may.
    NoStart,
    /// Whoever supervised it is gone.
    Orphaned,
    /// What held it was killed, or the machine went down: nobody saw its end.
    Crashed,
    /// It went beyond a limit.
    Limit(LimitKind),
    /// It used up what it may.
    Budget(BudgetPart),
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stopped::Budget(part) => return write!(f, "it used up its budget: {}", part.words()),
            Stopped::Asked => "it was cancelled",
            Stopped::Timeout => "it ran out of time",
            Stopped::Idle => "it said and did nothing for longer than supervise.idle allows",
            Stopped::NoStart => "it said nothing within supervise.start",
            Stopped::Orphaned => "nobody supervised it any more",
            Stopped::Crashed => "what held it is gone, and nobody saw its end",
            Stopped::Limit(LimitKind::Memory) => "it took more memory than confine.limits.memory allows",
            Stopped::Limit(LimitKind::FileSize) => "it wrote a file larger than confine.limits.file_size allows",
            Stopped::Limit(LimitKind::Disk) => "it took more disk space than confine.limits.disk allows",
        })
    }
}

impl ExitRecord {
    /// True when it ended as the kernel ends who writes beyond the size of a file, itself or what a shell started last.
    pub fn by_file_size(&self) -> bool {
        const SHELL: i32 = 128;
        self.signal == Some(libc::SIGXFSZ) || self.exit == Some(SHELL + libc::SIGXFSZ)
    }
}

/// Writes one frame.
pub fn write_frame(mut to: impl Write, frame: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(frame)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= FRAME_MAX);
    let length = length.ok_or_else(|| io::Error::other("a frame that is too long"))?;
    let mut whole = length.to_be_bytes().to_vec();
    whole.extend(text);
    to.write_all(&whole)
}

/// Sends one frame where writing may take its time.
pub async fn send_frame(to: &mut (impl AsyncWrite + Unpin), frame: &impl Serialize) -> io::Result<()> {
    let mut whole = Vec::new();
    write_frame(&mut whole, frame)?;
    to.write_all(&whole).await
}

/// Reads one frame; `None` at the end.
pub fn read_frame<F: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<F>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            return Ok(None);
        }
        read => read?,
    }
    let length = u32::from_be_bytes(length);
    if length > FRAME_MAX {
        return Err(io::Error::other("a frame that is too long"));
    }
    let mut text = vec![0; length as usize];
    from.read_exact(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}

/// Reads one frame of at most so many bytes from one who may say anything; `None` where that is none.
pub async fn receive_frame<F: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin), most: u32) -> Option<F> {
    let length = from.read_u32().await.ok().filter(|length| *length <= most)?;
    let mut text = vec![0; length as usize];
    from.read_exact(&mut text).await.ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_back_one_after_the_other_to_the_end() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &Order::Stop { grace_ms: 7 }).expect("written");
        write_frame(&mut bytes, &Order::Kill).expect("written");
        let mut from = &bytes[..];
        assert_eq!(read_frame(&mut from).expect("read"), Some(Order::Stop { grace_ms: 7 }));
        assert_eq!(read_frame(&mut from).expect("read"), Some(Order::Kill));
        assert_eq!(read_frame::<Order>(&mut from).expect("read"), None);
    }

    #[test]
    fn a_question_is_no_greeting_and_a_greeting_no_question() {
        let heard = |frame: &[u8]| serde_json::from_slice::<FirstWord>(frame).ok();
        let written = |word: &FirstWord| serde_json::to_vec(word).expect("written");
        let (greeting, question) = (FirstWord::Greeting(Greeting::of(3)), FirstWord::Question(Question::health()));
        assert_eq!((heard(&written(&greeting)), heard(&written(&question))), (Some(greeting), Some(question)));
        assert!(serde_json::from_slice::<Greeting>(&written(&question)).is_err(), "an earlier shim turns it away");
        assert_eq!(heard(b"{\"version\":1}"), None);
    }

    #[test]
    fn a_frame_that_lies_about_its_length_is_refused() {
        assert!(read_frame::<Order>(&[0xff, 0xff, 0xff, 0xff, 0][..]).is_err());
        assert!(read_frame::<Order>(&[0, 0, 0, 9, b'{'][..]).is_err());
    }
}
