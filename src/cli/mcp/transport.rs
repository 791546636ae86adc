//! Standard input and output as the line to who calls, without what our server does not speak.
//!
//! Promises: `server/discover` is a method that is not found, by which a newer client knows to begin with `initialize`; what comes before that and is
//! no request is passed over; at the end of input what was read before it comes under way first. Reads lines and writes lines as the library does.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData, JsonRpcMessage, RequestId};
use rmcp::service::TxJsonRpcMessage;
use rmcp::transport::Transport;
use tokio::sync::watch;

use super::unsent::Unsent;

/// How long the end of input waits for what was read before it.
const LAST: Duration = Duration::from_secs(5);

/// The line.
pub struct Line<T> {
    inner: T,
    is_begun: bool,
    unsent: Unsent,
    ends: watch::Sender<bool>,
}

impl<T: Transport<RoleServer>> Line<T> {
    /// Over this one; at its end, and when what is in `unsent` is gone, `ends` becomes true.
    pub fn over(inner: T, unsent: Unsent, ends: watch::Sender<bool>) -> Line<T> {
        Line { inner, is_begun: false, unsent, ends }
    }

    fn refuse(&mut self, id: RequestId, method: String) {
        let error = ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("method not found: {method}"), None);
        let sending = self.inner.send(JsonRpcMessage::error(error, Some(id)));
        // Whoever reads may be polled away at any moment, and the refusal is to be whole.
        tokio::spawn(async move {
            if let Err(error) = sending.await {
                tracing::debug!(%error, "nobody reads");
            }
        });
    }

    /// What of a message is for the server.
    fn passed(&mut self, message: ClientJsonRpcMessage) -> Option<ClientJsonRpcMessage> {
        if let ClientJsonRpcMessage::Request(request) = &message {
            match &request.request {
                ClientRequest::InitializeRequest(_) => self.is_begun = true,
                ClientRequest::DiscoverRequest(_) => {
                    self.refuse(request.id.clone(), "server/discover".into());
                    return None;
                }
                ClientRequest::CustomRequest(custom) if !self.is_begun => {
                    self.refuse(request.id.clone(), custom.method.clone());
                    return None;
                }
                ClientRequest::CallToolRequest(_) if self.is_begun => self.unsent.add(request.id.to_string()),
                _ => {}
            }
            return Some(message);
        }
        self.is_begun.then_some(message)
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Line<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let Some(message) = self.inner.receive().await else {
                if !self.unsent.all_gone(LAST).await {
                    tracing::warn!("the input ended, and not all that was asked for could be sent");
                }
                self.ends.send_replace(true);
                return None;
            };
            if let Some(message) = self.passed(message) {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}
