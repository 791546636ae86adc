// The tools of a task of treehand for pi, which has no MCP: each call goes to the endpoint of the attempt, a socket at
// TREEHAND_ENDPOINT or $HOME/.treehand/endpoint, as a line {"id","tool","args"}; replies {"id","ok"} or {"id","error"} come
// in any order, after hours too. What has no reply when the line breaks is sent again: every request may be.

import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import type { ExtensionAPI } from "@mariozechner/pi-coding-agent";
import { Type } from "typebox";

const TOOLS = [
  {
    name: "submit_result",
    label: "Submit the result",
    description:
      "Hand in the result of your task. Call it exactly once, as your last step, when the work is done and checked: done if the task is fulfilled, nothing_to_do if no change was needed, failed if you cannot do it (say why). Changed files are taken from the worktree; they need not be committed. Calling it again replaces what you said before.",
    fields: {
      status: Type.Unsafe<string>({ type: "string", enum: ["done", "nothing_to_do", "failed"], description: "How the task came out" }),
      summary: Type.String({ minLength: 1, maxLength: 20000, description: "What you did and how you checked it, or why it could not be done; people read it" }),
    },
  },
  {
    name: "ask",
    label: "Ask a person",
    description:
      "Ask a person a question and wait for the answer. It may take hours, and the task rests meanwhile: use it only for what you cannot decide alone from the task and the code, and what would be costly to get wrong. For everything else decide yourself and say so in the summary. Give a default and a deadline when you could go on without an answer.",
    fields: {
      question: Type.String({ minLength: 1, maxLength: 16000, description: "The question, with all that one must know to answer it" }),
      default: Type.Optional(Type.String({ minLength: 1, maxLength: 16000, description: "The answer that holds when nobody answers by the deadline" })),
      deadline: Type.Optional(Type.String({ minLength: 1, maxLength: 32, description: "How long to wait for a person at most, like 30m" })),
    },
  },
  {
    name: "progress",
    label: "Say how far you are",
    description:
      "Say in a line how far you are, for people who look on. Call it when a larger step is done or a long one begins; it returns at once.",
    fields: {
      message: Type.String({ minLength: 1, maxLength: 2000, description: "What you have done or begin to do" }),
    },
  },
  {
    name: "inbox",
    label: "Read messages",
    description:
      "Read what people have said to you since you began. Look at the beginning, between larger steps and before you submit: a message may change what is wanted. It returns at once.",
    fields: {
      after: Type.Optional(Type.Integer({ minimum: 0, description: "Only messages with a number beyond this one; the number of the last that you have read" })),
    },
  },
  {
    name: "conflicts",
    label: "See conflicts with others",
    description:
      "See which open work of others would conflict with your changes, and in which files. Use it before you touch files that others may be working on, and before you submit; then keep your changes there small.",
    fields: {},
  },
  {
    name: "fresh",
    label: "See what the target has got",
    description:
      "See how your base stands to the branch that your work lands on: what has come there meanwhile and which of it touches files that you changed. Use it during long work and before you submit.",
    fields: {},
  },
  {
    name: "task_context",
    label: "See the task",
    description:
      "See your task: what is wanted, which files you may change, what it is based on and where it lands, and what earlier attempts came to. Use it at the beginning, or when you have lost the thread.",
    fields: {},
  },
];

// The rest between two tries to connect, and most tries in a row without a reply: fewer where there was no line ever.
const BETWEEN = 1_000;
const TRIES = 600;
const FIRST_TRIES = 30;
const LINE_MAX = 1 << 20;

type Request = { line: string; resolve: (value: unknown) => void; reject: (error: Error) => void };

class Endpoint {
  private last = 0;
  private waiting = new Map<number, Request>();
  private socket: net.Socket | undefined;
  private isConnected = false;
  private tries = 0;
  private most = FIRST_TRIES;
  private readonly path = process.env.TREEHAND_ENDPOINT || path.join(process.env.HOME || "/", ".treehand", "endpoint");

  ask(tool: string, args: unknown, signal: AbortSignal | undefined): Promise<unknown> {
    const id = ++this.last;
    const line = `${JSON.stringify({ id, tool, args })}\n`;
    if (Buffer.byteLength(line) > LINE_MAX) {
      return Promise.reject(new Error(`${tool}: the arguments are longer than ${LINE_MAX} bytes`));
    }
    const answer = new Promise<unknown>((resolve, reject) => {
      this.waiting.set(id, { line, resolve, reject });
      // It is sent all the same, if not yet: only the answer is not waited for.
      const abort = () => {
        if (this.isConnected) this.waiting.delete(id);
        reject(new Error("the call was cancelled"));
      };
      signal?.addEventListener("abort", abort, { once: true });
    });
    if (this.isConnected) {
      this.socket?.ref().write(line);
    } else if (!this.socket) {
      this.connect();
    }
    return answer;
  }

  private connect() {
    const { address, close } = addressOf(this.path);
    const socket = net.connect({ path: address });
    this.socket = socket;
    this.tries += 1;
    let rest = "";
    let why = "it hangs up";
    socket.setEncoding("utf8");
    socket.on("connect", () => {
      this.isConnected = true;
      this.most = TRIES;
      for (const { line } of this.waiting.values()) socket.write(line);
    });
    socket.on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      lines.forEach((line) => this.answered(line));
      if (this.waiting.size === 0) socket.unref();
    });
    socket.on("error", (error) => {
      why = error.message;
    });
    socket.on("close", () => {
      close();
      this.socket = undefined;
      this.isConnected = false;
      if (this.tries >= this.most) this.giveUp(why);
      if (this.waiting.size > 0) setTimeout(() => this.socket || this.connect(), BETWEEN);
    });
  }

  private answered(line: string) {
    let reply: { id?: number; ok?: unknown; error?: unknown };
    try {
      reply = JSON.parse(line);
    } catch {
      return;
    }
    const request = this.waiting.get(reply?.id ?? 0);
    if (!request) return;
    this.waiting.delete(reply.id ?? 0);
    this.tries = 0;
    if (reply.error !== undefined && reply.error !== null) request.reject(new Error(String(reply.error)));
    else request.resolve(reply.ok ?? null);
  }

  private giveUp(why: string) {
    this.tries = 0;
    for (const { reject } of this.waiting.values()) reject(new Error(`treehand cannot be reached at ${this.path}: ${why}`));
    this.waiting.clear();
  }
}

// The address of a socket has 108 bytes at most, a path may have more: then by its directory, held open.
function addressOf(socket: string): { address: string; close: () => void } {
  if (Buffer.byteLength(socket) < 100 || process.platform !== "linux") return { address: socket, close: () => {} };
  try {
    const directory = fs.openSync(path.dirname(socket), fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    return { address: `/proc/self/fd/${directory}/${path.basename(socket)}`, close: () => fs.closeSync(directory) };
  } catch {
    return { address: socket, close: () => {} };
  }
}

export default function (pi: ExtensionAPI) {
  const endpoint = new Endpoint();
  for (const { name, label, description, fields } of TOOLS) {
    pi.registerTool({
      name,
      label,
      description,
      parameters: Type.Object(fields, { additionalProperties: false }),
      async execute(_id, args, signal) {
        const value = await endpoint.ask(name, args, signal);
        return { content: [{ type: "text", text: JSON.stringify(value, null, 2) }], details: value };
      },
    });
  }
}
