//! A client of MCP on standard input and output, as small as can be, and the endpoint of an attempt played by a story.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

/// A server that was started, and what it said.
pub struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    kept: Vec<Value>,
    last: u64,
}

impl Client {
    /// Starts the server.
    pub fn start(mut command: Command) -> Client {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let line = line.expect("UTF-8");
                let message: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                assert_eq!(message["jsonrpc"], "2.0", "{message}");
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        Client { stdin: child.stdin.take(), child, lines, kept: Vec::new(), last: 0 }
    }

    /// The same, with the handshake done; `capabilities` are the client's.
    pub fn begun(command: Command, capabilities: Value) -> Client {
        let mut client = Client::start(command);
        client.initialize("2025-11-25", capabilities);
        client
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line as it is.
    pub fn line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open");
        stdin.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdin.flush()).expect("written");
    }

    /// Sends a request; its id.
    pub fn request(&mut self, method: &str, params: Value) -> u64 {
        self.last += 1;
        let id = self.last;
        self.line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
        id
    }

    /// Sends a notification.
    pub fn notify(&mut self, method: &str, params: Value) {
        self.line(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string());
    }

    /// Calls a tool; its id.
    pub fn call(&mut self, tool: &str, arguments: Value) -> u64 {
        self.request("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// The next message of which this is true; others are kept.
    pub fn next(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.kept.iter().position(&is_it) {
            return self.kept.remove(at);
        }
        loop {
            let Ok(message) = self.lines.recv() else { panic!("the server ended: {}", self.said()) };
            if is_it(&message) {
                return message;
            }
            self.kept.push(message);
        }
    }

    /// The whole reply to a request.
    pub fn reply(&mut self, id: u64) -> Value {
        self.next(|message| message["id"] == id && message["method"].is_null())
    }

    /// The result of a call, and whether it is an error.
    pub fn result(&mut self, id: u64) -> (Value, bool) {
        let reply = self.reply(id);
        assert!(reply["error"].is_null(), "{reply}");
        (reply["result"].clone(), reply["result"]["isError"] == true)
    }

    /// What a call that has to succeed answers.
    pub fn answer(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.call(tool, arguments);
        let (result, is_error) = self.result(id);
        assert!(!is_error, "{tool}: {result}");
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().expect("text")).expect("JSON");
        assert_eq!(text, result["structuredContent"]);
        text
    }

    /// The words of a call that has to fail.
    pub fn refusal(&mut self, tool: &str, arguments: Value) -> String {
        let id = self.call(tool, arguments);
        let (result, is_error) = self.result(id);
        assert!(is_error, "{tool}: {result}");
        result["content"][0]["text"].as_str().expect("text").to_owned()
    }

    /// The handshake.
    pub fn initialize(&mut self, version: &str, capabilities: Value) -> Value {
        let client = json!({"name": "story", "version": "0"});
        let params = json!({"protocolVersion": version, "capabilities": capabilities, "clientInfo": client});
        let id = self.request("initialize", params);
        let reply = self.reply(id);
        self.notify("notifications/initialized", json!({}));
        reply["result"].clone()
    }

    /// Ends its input; its exit code, and what it said that nobody took.
    pub fn end(mut self) -> (Option<i32>, Vec<Value>) {
        drop(self.stdin.take());
        self.kept.extend(self.lines.iter());
        let code = self.child.wait().expect("it ends").code();
        (code, self.kept)
    }

    /// Waits until it ends, with its input open; its exit code.
    pub fn ends(mut self) -> Option<i32> {
        let input = self.stdin.take();
        let code = self.child.wait().expect("it ends").code();
        drop(input);
        code
    }

    fn said(&mut self) -> String {
        let mut text = String::new();
        if let Some(stderr) = self.child.stderr.as_mut() {
            stderr.read_to_string(&mut text).expect("read");
        }
        text
    }
}

/// An endpoint, at a path of its own.
pub struct Endpoint(UnixListener);

/// Who has connected to it.
pub struct Caller {
    read: BufReader<UnixStream>,
    write: UnixStream,
}

impl Endpoint {
    /// Listens, also where the path is too long for an address.
    pub fn listen(path: &Path) -> Endpoint {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        let address = treehand::sys::socket::Address::of(path).expect("an address");
        Endpoint(UnixListener::bind(address.path()).expect("bound"))
    }

    /// The next who connects.
    pub fn accept(&self) -> Caller {
        let (stream, _) = self.0.accept().expect("a caller");
        Caller { read: BufReader::new(stream.try_clone().expect("cloned")), write: stream }
    }
}

impl Caller {
    /// The next request.
    pub fn request(&mut self) -> Value {
        let mut line = String::new();
        self.read.read_line(&mut line).expect("read");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no request: {line}"))
    }

    /// True when nothing more comes.
    pub fn is_over(&mut self) -> bool {
        self.read.read_line(&mut String::new()).expect("read") == 0
    }

    /// Says something.
    pub fn say(&mut self, document: &Value) {
        self.write.write_all(format!("{document}\n").as_bytes()).expect("written");
    }

    /// Answers a request.
    pub fn answer(&mut self, request: &Value, ok: Value) {
        self.say(&json!({"id": request["id"], "ok": ok}));
    }
}
