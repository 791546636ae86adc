"""A model's server that says what a script says: used by `scripts/test-agents`, with nothing but Python's own library.

It speaks the protocols of the agents (chat completions, responses, messages, generateContent; streamed or not) on 127.0.0.1. The
marker `[[script:NAME]]` with which a task's prompt begins says which script is played, `/agent/NAME/` at the start of the path
which agent asks: a script `NAME@AGENT` stands over `NAME`. What comes without a marker plays `unmarked`, where there is such a script,
else it is answered by a short text.

A script is a list of steps. Which is next follows from how many results of tools a request has in it, so that agents may work at the
same time and go on with a conversation; the last step is said again. A step is one of

    {"write": [path, text]}   {"shell": command}   {"tool": name, "args": {}}   {"say": text}
    {"hang": True}            accepts the request and says nothing, until the server is closed
    {"cut": text}             says half of it, then closes the line
    {"http": status, "times": n}   that many requests are refused before the step that follows; all of them without `times`

with `"meet": n` where it waits until n requests of this script's family (the name up to its dot) are there. Files and commands go by
whatever tool an agent offers for that. What was asked is in `requests`.
"""

import gzip
import json
import re
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ALWAYS = 10**9
PATIENCE = 60
# As treehand tells a task, in JSON: messages of commits that an agent is shown may have other markers.
MARKER = re.compile(r"Your task, [^:]{1,80}:(?:\\n)*\[\[script:([\w.-]+)\]\]")
PLACE = re.compile(r"(?:Your worktree is|[Ww]orking directory:?|<cwd>)[: ]*`?(/[^\s`<>\]\"',\\]+)")
FAULTS = {
    400: ("invalid_request_error", "INVALID_ARGUMENT"),
    401: ("authentication_error", "UNAUTHENTICATED"),
    429: ("rate_limit_error", "RESOURCE_EXHAUSTED"),
}
WORDS = {400: "scripted error", 401: "invalid x-api-key (scripted)", 429: "Rate limit reached (scripted)"}
WRITERS = ["write", "Write", "write_file", "create_file"]
WITHOUT_TOOLS = ["aider"]
SHELLS = ["bash", "Bash", "exec_command", "shell_command", "shell", "run_shell_command"]


def ident(kind):
    return f"{kind}_{uuid.uuid4().hex[:16]}"


def texts(value):
    """Every string in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts(one)


class Tool:
    def __init__(self, name, schema, kind="function", namespace=None):
        self.name, self.schema, self.kind, self.namespace = name, schema or {}, kind, namespace

    def takes(self, *names):
        """The first of these names that it has for an argument."""
        known = self.schema.get("properties", {})
        return next((name for name in names if name in known), names[0])

    def filled(self, given):
        """With what it wants besides."""
        known = self.schema.get("properties", {})
        for name in self.schema.get("required", []):
            if name not in given:
                kind = known.get(name, {}).get("type", "string")
                kind = (kind[0] if isinstance(kind, list) else kind).lower()
                choice = known.get(name, {}).get("enum")
                empty = {"boolean": False, "number": 1, "integer": 1, "array": [], "object": {}}
                given[name] = choice[0] if choice else empty.get(kind, "scripted")
        return given


def tools_of(request):
    found = {}

    def add(tool, namespace=None):
        kind = tool.get("type")
        if kind == "namespace":
            for one in tool.get("tools", []):
                add(one, tool["name"])
        elif "functionDeclarations" in tool:
            for one in tool["functionDeclarations"]:
                found[one["name"]] = Tool(one["name"], one.get("parametersJsonSchema") or one.get("parameters"))
        elif kind == "function" and "function" in tool:
            found[tool["function"]["name"]] = Tool(tool["function"]["name"], tool["function"].get("parameters"))
        elif kind == "custom" and "input_schema" not in tool:
            found[tool["name"]] = Tool(tool["name"], {}, "custom", namespace)
        elif tool.get("name"):
            schema = tool.get("parameters") or tool.get("input_schema")
            found[tool["name"]] = Tool(tool["name"], schema, "function", namespace)

    for tool in request.get("tools") or []:
        add(tool)
    return found


OUTPUTS = ("function_call_output", "custom_tool_call_output")


def results_in(request):
    """What tools gave back, as texts."""
    found = []
    for one in request.get("messages", []):
        if one.get("role") == "tool":
            found.append(one)
        elif isinstance(one.get("content"), list):
            found += [part for part in one["content"] if part.get("type") == "tool_result"]
    given = request.get("input")
    found += [one for one in given if one.get("type") in OUTPUTS] if isinstance(given, list) else []
    for one in request.get("contents", []):
        found += [part for part in one.get("parts", []) if "functionResponse" in part]
    return ["\n".join(texts(one)) for one in found]


class Call:
    def __init__(self, tool, args):
        self.tool, self.args = tool, args


def call_of(step, tools, request):
    """The call that a step is, by what the agent offers; a text where it offers nothing for that."""
    if "tool" in step:
        named = re.compile(rf"(?:^|[._]){step['tool']}$")
        tool = next((tool for name, tool in tools.items() if named.search(name)), None)
        return Call(tool, tool.filled(dict(step["args"]))) if tool else f"there is no tool {step['tool']}"
    if "write" in step:
        path, content = step["write"]
        tool = next((tools[name] for name in WRITERS if name in tools), None)
        if tool:
            place = next((found[1].rstrip(".") for text in texts(request) for found in [PLACE.search(text)] if found), "")
            args = {
                tool.takes("file_path", "filePath", "path", "absolute_path"): f"{place}/{path}",
                tool.takes("content", "contents", "text"): content,
            }
            return Call(tool, tool.filled(args))
        if "apply_patch" in tools and tools["apply_patch"].kind == "custom":
            lines = "\n".join("+" + line for line in content.splitlines())
            return Call(tools["apply_patch"], f"*** Begin Patch\n*** Add File: {path}\n{lines}\n*** End Patch")
        step = {"shell": f"cat > '{path}' <<'_END_'\n{content}_END_"}
    tool = next((tools[name] for name in SHELLS if name in tools), None)
    if not tool:
        return f"there is no shell among {sorted(tools)}"
    name = tool.takes("command", "cmd", "script")
    is_list = tool.schema.get("properties", {}).get(name, {}).get("type") == "array"
    return Call(tool, tool.filled({name: ["bash", "-c", step["shell"]] if is_list else step["shell"]}))


# ---- what is said, in each protocol: the events of a stream, and the document in one piece ----


def in_chat(model, text, call):
    head = {"id": ident("chatcmpl"), "created": int(time.time()), "model": model}
    usage = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050, "prompt_tokens_details": {"cached_tokens": 200}}
    end = "tool_calls" if call else "stop"
    called = call and {"id": ident("call"), "type": "function", "function": {"name": call.tool.name, "arguments": json.dumps(call.args)}}

    def chunk(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return None, {**head, "object": "chat.completion.chunk", "choices": [choice]}

    parts = [{"tool_calls": [{"index": 0, **called}]}] if call else [{"content": word} for word in re.findall(r"\S+\s*", text)]
    events = [chunk({"role": "assistant", "content": ""}), *map(chunk, parts), chunk({}, end)]
    events += [(None, {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}), (None, "[DONE]")]
    message = {"role": "assistant", "content": None, "tool_calls": [called]} if call else {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": end}]
    return events, {**head, "object": "chat.completion", "choices": choices, "usage": usage}


def in_responses(model, text, call):
    usage = {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 200}, "output_tokens": 50, "total_tokens": 1050}
    usage["output_tokens_details"] = {"reasoning_tokens": 0}
    if call:
        name = {"id": ident("item"), "call_id": ident("call"), "name": call.tool.name, "status": "completed"}
        if call.tool.kind == "custom":
            item = {"type": "custom_tool_call", "input": call.args, **name}
        else:
            item = {"type": "function_call", "arguments": json.dumps(call.args), **name}
        if call.tool.namespace:
            item["namespace"] = call.tool.namespace
    else:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        item = {"type": "message", "id": ident("msg"), "role": "assistant", "status": "completed", "content": content}
    begun = {"id": ident("resp"), "object": "response", "created_at": int(time.time()), "model": model, "output": []}
    begun["status"] = "in_progress"
    whole = {**begun, "status": "completed", "output": [item], "usage": usage}
    events = [{"type": "response.created", "response": begun}]
    if not call:
        opened = {**item, "status": "in_progress", "content": []}
        events += [{"type": "response.output_item.added", "output_index": 0, "item": opened}]
        delta = {"type": "response.output_text.delta", "item_id": item["id"], "output_index": 0, "content_index": 0}
        events += [{**delta, "delta": word} for word in re.findall(r"\S+\s*", text)]
    events += [{"type": "response.output_item.done", "output_index": 0, "item": item}, {"type": "response.completed", "response": whole}]
    return [(event["type"], event) for event in events], whole


def in_messages(model, text, call):
    usage = {"input_tokens": 1000, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 200, "output_tokens": 50}
    head = {"id": ident("msg"), "type": "message", "role": "assistant", "model": model}
    block = {"type": "text", "text": text}
    if call:
        block = {"type": "tool_use", "id": ident("toolu"), "name": call.tool.name, "input": call.args}
    end = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
    begun = {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
    if call:
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(call.args)}]
    else:
        deltas = [{"type": "text_delta", "text": word} for word in re.findall(r"\S+\s*", text)]
    events = [{"type": "message_start", "message": begun}]
    events += [{"type": "content_block_start", "index": 0, "content_block": {**block, **({"input": {}} if call else {"text": ""})}}]
    events += [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    events += [{"type": "content_block_stop", "index": 0}, {"type": "message_delta", "delta": end, "usage": usage}, {"type": "message_stop"}]
    return [(event["type"], event) for event in events], {**head, "content": [block], **end, "usage": usage}


def in_gemini(model, text, call):
    usage = {"promptTokenCount": 1000, "candidatesTokenCount": 50, "totalTokenCount": 1050, "cachedContentTokenCount": 200}

    def document(part, end):
        candidate = {"index": 0, "content": {"role": "model", "parts": [part]}, **({"finishReason": "STOP"} if end else {})}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}

    if call:
        part = {"functionCall": {"name": call.tool.name, "args": call.args}}
        return [(None, document(part, True))], document(part, True)
    words = re.findall(r"\S+\s*", text)
    return [(None, document({"text": word}, n == len(words))) for n, word in enumerate(words, 1)], document({"text": text}, True)


def protocol_of(path):
    if path.endswith("/chat/completions"):
        return in_chat
    if path.endswith("/responses"):
        return in_responses
    if path.endswith("/messages"):
        return in_messages
    return in_gemini if "enerateContent" in path else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def document(self, status, value, cut=False):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if status == 429:
            self.send_header("retry-after", "1")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def stream(self, events, cut):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for name, value in events[: len(events) // 2] if cut else events:
            text = value if isinstance(value, str) else json.dumps(value)
            self.wfile.write(((f"event: {name}\n" if name else "") + f"data: {text}\n\n").encode())
            self.wfile.flush()

    def do_HEAD(self):
        self.document(200, {})

    def do_GET(self):
        if self.path.split("?")[0].rstrip("/").endswith("/models"):
            one = {"id": "scripted", "object": "model", "type": "model", "display_name": "Scripted"}
            return self.document(200, {"object": "list", "data": [one], "models": []})
        return self.document(404, {"error": {"message": "there is nothing here", "type": "not_found_error"}})

    def do_POST(self):
        try:
            self.answer()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self):
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            raw = gzip.decompress(raw)
        path = self.path.split("?")[0]
        say = protocol_of(path)
        if path.endswith("/count_tokens"):
            return self.document(200, {"input_tokens": 100})
        if not say:
            return self.document(404, {"error": {"message": "there is nothing here", "type": "not_found_error"}})
        request = json.loads(raw)
        asked = self.server.asked(path, request, raw.decode("utf-8", "replace"))
        if asked.status:
            kind, state = FAULTS.get(asked.status, ("api_error", "INTERNAL"))
            message = WORDS.get(asked.status, "scripted error")
            error = {"type": kind, "code": kind, "message": message}
            if say is in_gemini:
                error = {"code": asked.status, "message": message, "status": state}
            return self.document(asked.status, {"type": "error", "error": error})
        step = asked.step
        if "meet" in step:
            self.server.meet(asked)
        if "hang" in step:
            self.close_connection = True
            self.server.closing.wait()
            return None
        call, text = None, step.get("say") or step.get("cut")
        if text is None:
            call = call_of(step, tools_of(request), request)
            if isinstance(call, str):
                asked.wrong = call
                call, text = None, f"the script cannot be played: {call}"
        events, whole = say(request.get("model", "scripted"), text, call)
        if request.get("stream") or "streamGenerate" in path:
            return self.stream(events, "cut" in step)
        return self.document(200, whole, "cut" in step)


class Asked:
    """A request, and what was said to it."""

    def __init__(self, agent, script, results, text):
        self.agent, self.script, self.results, self.text = agent, script, results, text
        self.at, self.step, self.status, self.wrong = time.monotonic(), None, None, None


class ModelServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, scripts):
        super().__init__(("127.0.0.1", 0), Handler)
        self.scripts, self.requests, self.refused, self.met = scripts, [], {}, {}
        self.lock, self.closing = threading.Condition(), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that went away is none of ours; the rest is a fault of the script."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def address(self, agent):
        return f"http://127.0.0.1:{self.server_address[1]}/agent/{agent}"

    def close(self):
        self.closing.set()
        self.shutdown()
        self.server_close()

    def asked(self, path, request, text):
        agent = path.split("/")[2] if path.startswith("/agent/") else ""
        marker = MARKER.search(text)
        # A side call, for a title or a summary, offers no tools; some agents never do.
        name = marker[1] if marker else "unmarked" if "unmarked" in self.scripts else None
        name = name if tools_of(request) or agent in WITHOUT_TOOLS else None
        results = results_in(request)
        asked = Asked(agent, name, results, text)
        steps = self.scripts.get(f"{name}@{agent}") or self.scripts.get(name) or [{"say": "scripted"}]
        said, faults = [], {}
        for step in steps:
            if "http" in step:
                faults[len(said)] = step
            else:
                said.append(step)
        with self.lock:
            place = min(len(results), len(said) - 1) if said else 0
            fault, key = faults.get(place), (agent, name, place)
            if fault and self.refused.get(key, 0) < fault.get("times", ALWAYS):
                self.refused[key] = self.refused.get(key, 0) + 1
                asked.status = fault["http"]
            else:
                asked.step = said[place]
            self.requests.append(asked)
        return asked

    def meet(self, asked):
        """Waits until as many scripts of a family are at this step as it says."""
        family = asked.script.split(".")[0]
        with self.lock:
            here = self.met.setdefault(family, set())
            here.add(asked.script)
            self.lock.notify_all()
            if not self.lock.wait_for(lambda: len(here) >= asked.step["meet"], PATIENCE):
                asked.wrong = "nobody else came"

    def of(self, script, agent=None):
        """What was asked for a script."""
        return [one for one in list(self.requests) if one.script == script and agent in (None, one.agent)]
