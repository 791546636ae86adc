//! An MCP server on standard input and output: offers tools, checks what they are called with, and gives what they answer.
//!
//! Promises: standard output has nothing but the protocol; several calls are answered at once; a call that is cancelled lets its tool know; it ends
//! with its input, or with a signal. What the tools do it does not know.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientResult, ContentBlock, ElicitRequest,
    ElicitRequestParams, ElicitationAction, ElicitationSchema, Implementation, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ServerCapabilities, ServerConfig, ServerRequest, ToolAnnotations,
};
use rmcp::service::{RequestContext, ServerInitializeError};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::tool::{Arguments, Effect, Outcome, Tool};
use super::transport::Line;
use super::unsent::{NotYet, Unsent};

/// The revisions of the protocol that are spoken, oldest first.
const VERSIONS: &[ProtocolVersion] = &[
    ProtocolVersion::V_2024_11_05,
    ProtocolVersion::V_2025_03_26,
    ProtocolVersion::V_2025_06_18,
    ProtocolVersion::V_2025_11_25,
];

/// How long calls have to come to their end when the server does.
const LAST: Duration = Duration::from_secs(15);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The runtime or the signals cannot be had.
    #[error("cannot begin to serve: {0}")]
    Io(#[from] std::io::Error),
    /// The client did not begin as the protocol says.
    #[error("the client does not speak MCP: {0}")]
    Begin(#[from] Box<ServerInitializeError>),
    /// The server itself fell over.
    #[error("the server ended: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

/// Who answers calls.
pub trait Answers: Send + Sync + 'static {
    /// The tools.
    fn tools(&self) -> &'static [Tool];

    /// What is said of all of them.
    fn instructions(&self) -> &'static str;

    /// Does what a call of a tool asks for; its arguments are what it takes.
    fn answer(&self, tool: &'static Tool, arguments: Arguments, asked: Asked) -> impl Future<Output = Outcome> + Send;
}

/// One call, and who made it.
pub struct Asked {
    context: RequestContext<RoleServer>,
    ends: watch::Receiver<bool>,
    not_yet: Option<NotYet>,
}

/// What a person said who was asked for consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Yes.
    Given,
    /// No, or nothing.
    Refused,
    /// The client cannot ask.
    CannotAsk,
}

impl Asked {
    /// Goes when the call is under way.
    pub fn not_yet(&mut self) -> Option<NotYet> {
        self.not_yet.take()
    }

    /// Waits until nobody wants the answer any more; why.
    pub async fn unwanted(&self) -> &'static str {
        let mut ends = self.ends.clone();
        tokio::select! {
            () = self.context.ct.cancelled() => "the call was cancelled",
            _ = ends.wait_for(|ends| *ends) => "the client has ended",
        }
    }

    /// Asks the person in front of the client.
    pub async fn consent(&self, message: String) -> Consent {
        let peer = &self.context.peer;
        let elicitation = peer.peer_info().and_then(|info| info.capabilities.elicitation.clone());
        // Of a client that names no way, forms are the first there was.
        if !elicitation.is_some_and(|can| can.form.is_some() || can.url.is_none()) {
            return Consent::CannotAsk;
        }
        let requested_schema = ElicitationSchema::new(std::collections::BTreeMap::new());
        let form = ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema };
        let asking = peer.send_request(ServerRequest::ElicitRequest(ElicitRequest::new(form)));
        let answer = tokio::select! {
            answer = asking => answer,
            _ = self.unwanted() => return Consent::Refused,
        };
        match answer {
            Ok(ClientResult::ElicitResult(result)) if result.action == ElicitationAction::Accept => Consent::Given,
            Ok(_) => Consent::Refused,
            Err(error) => {
                tracing::warn!(%error, "the person could not be asked");
                Consent::CannotAsk
            }
        }
    }
}

/// Serves until the input ends (0) or a signal comes (its code). `answers` is made where the runtime is.
pub fn serve<A: Answers>(answers: impl FnOnce() -> A) -> Result<u8, ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        let (ends, ended) = watch::channel(false);
        let (at_work, all_gone) = mpsc::channel(1);
        let unsent = Unsent::default();
        let server = Server { answers: Arc::new(answers()), unsent: unsent.clone(), ends: ended, at_work };
        let lines = AsyncRwTransport::new_server(tokio::io::stdin(), tokio::io::stdout());
        served(server, Line::over(lines, unsent, ends), all_gone).await
    });
    // A read of standard input cannot be called off, and nobody waits for it.
    runtime.shutdown_background();
    code
}

async fn served<A: Answers>(
    server: Server<A>,
    line: Line<AsyncRwTransport<RoleServer, tokio::io::Stdin, tokio::io::Stdout>>,
    mut all_gone: mpsc::Receiver<()>,
) -> Result<u8, ServeError> {
    let mut signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let begun = tokio::select! {
        begun = server.serve(line) => begun,
        code = signalled(&mut signals) => return Ok(code),
    };
    let running = match begun {
        Ok(running) => running,
        // Nobody who had anything to ask.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(0),
        Err(error) => return Err(Box::new(error).into()),
    };
    let token = running.cancellation_token();
    let mut waiting = std::pin::pin!(running.waiting());
    let code = tokio::select! {
        over = &mut waiting => over.map(|_| 0)?,
        code = signalled(&mut signals) => {
            token.cancel();
            waiting.await?;
            code
        }
    };
    if tokio::time::timeout(LAST, all_gone.recv()).await.is_err() {
        tracing::warn!("a call did not come to its end");
    }
    Ok(code)
}

async fn signalled((interrupt, terminate): &mut (Signal, Signal)) -> u8 {
    tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    }
}

struct Server<A> {
    answers: Arc<A>,
    unsent: Unsent,
    ends: watch::Receiver<bool>,
    at_work: mpsc::Sender<()>,
}

impl<A: Answers> ServerHandler for Server<A> {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_protocol_version(ProtocolVersion::V_2025_11_25)
            .with_server_info(Implementation::new("treehand", env!("CARGO_PKG_VERSION")))
            .with_instructions(self.answers.instructions())
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(VERSIONS)
    }

    async fn list_tools(
        &self,
        _all_on_one_page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.answers.tools().iter().map(offered).collect()))
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let not_yet = self.unsent.taken(context.id.to_string());
        let _at_work = self.at_work.clone();
        let Some(tool) = self.answers.tools().iter().find(|tool| tool.name == call.name) else {
            return Err(ErrorData::invalid_params(format!("there is no tool `{}`", call.name.escape_debug()), None));
        };
        let outcome = match tool.checked(call.arguments.unwrap_or_default()) {
            Err(text) => Outcome::Wrong { text, document: None },
            Ok(arguments) => {
                let asked = Asked { context, ends: self.ends.clone(), not_yet: Some(not_yet) };
                self.answers.answer(tool, arguments, asked).await
            }
        };
        Ok(result(outcome).into())
    }
}

fn offered(tool: &Tool) -> rmcp::model::Tool {
    let effect = ToolAnnotations::with_title(tool.title).open_world(false);
    let effect = match tool.effect {
        Effect::Reads => effect.read_only(true),
        Effect::Adds => effect.read_only(false).destructive(false),
        Effect::Changes => effect.read_only(false).destructive(true),
    };
    rmcp::model::Tool::new(tool.name, tool.description, tool.schema()).with_title(tool.title).with_annotations(effect)
}

fn result(outcome: Outcome) -> CallToolResult {
    let pretty = |value: &Value| format!("{value:#}");
    match outcome {
        Outcome::Right(value) => {
            let mut result = CallToolResult::success(vec![ContentBlock::text(pretty(&value))]);
            result.structured_content = Some(value);
            result
        }
        Outcome::Wrong { text, document } => {
            let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
            result.structured_content = document;
            result
        }
    }
}
