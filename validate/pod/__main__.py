"""`python3 -m validate.pod VERB ...` in the probe pod; every answer is a JSON line."""

from __future__ import annotations

import argparse
import os
import sys

from validate.pod import admission, audit, drill, smoke, targets


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="validate.pod")
    parser.add_argument(
        "verb",
        choices=[
            "admission",
            "smoke",
            "whole",
            "primary",
            "handover",
            "launch",
            "clients",
            "status",
            "stop",
            "readback",
            "fetch",
            "drill",
            "load",
            "integration",
            "story",
            "safety",
            "knock",
            "churn",
        ],
    )
    parser.add_argument("--component", action="append", default=[], help="default: all")
    parser.add_argument("--deadline", type=float, default=25.0, help="seconds")
    parser.add_argument("--run", default="", help="id of the run, part of each uid")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rate", type=float, default=200.0, help="writes a second, all clients")
    parser.add_argument("--lifetime", type=float, default=600.0, help="seconds")
    parser.add_argument("--file", default="jsonl", help="fetch: jsonl or readback")
    parser.add_argument("--leader", default="", help="handover: who leads now")
    parser.add_argument("--candidate", default="", help="handover: who shall lead")
    parser.add_argument("--port", action="append", default=[], help="knock: one more host:port")
    parser.add_argument("--batches", type=int, default=14, help="churn")
    parser.add_argument("--cycles", type=int, default=10, help="churn: in each batch")
    parser.add_argument("--act", default="", help="integration, story: what to do")
    parser.add_argument("--wish", default="{}", help="integration, story: with what, as JSON")
    parser.add_argument("--order", default="", help="load: as JSON; without: --run ends")
    return parser


def main() -> None:
    args = _parser().parse_args()
    if args.verb == "integration":
        from validate.pod.integration import verbs  # most pods never need it

        verbs.main(args.act, args.wish)
    elif args.verb == "story":
        from validate.pod.story import verbs as story  # as the above

        story.main(args.act, args.wish)
    elif args.verb == "load":
        from validate.pod.load import run  # as the above

        run.load(args.order) if args.order else run.stop(args.run)
    elif args.verb == "admission":
        admission.wait(args.component or targets.names(), args.deadline)
    elif args.verb in ("safety", "knock", "churn"):
        _safety(args)
    elif args.verb == "handover":
        name = args.component[0]
        smoke.emit_check(name, smoke.handover(name, args.leader, args.candidate))
    else:
        _act(args)


def _safety(args: argparse.Namespace) -> None:
    from validate.pod import safety

    names: list[str] = args.component or targets.names()
    if args.verb == "safety":
        safety.run_safety(names, args.run)
    elif args.verb == "knock":
        safety.knock(names[0], args.port)
    else:
        safety.churn(names[0], args.run, args.batches, args.cycles)


def _act(args: argparse.Namespace) -> None:
    names: list[str] = args.component or targets.names()
    if args.verb == "smoke":
        smoke.in_parallel(names, "smoke", lambda n: smoke.smoke(n, args.deadline), args.deadline, smoke.SMOKE_AT_ONCE)
    elif args.verb == "whole":
        smoke.in_parallel(names, "redundancy", lambda n: smoke.whole(n, args.deadline), args.deadline + 15)
    elif args.verb == "primary":
        smoke.in_parallel(names, "primary", smoke.primaries, args.deadline)
    elif args.verb == "launch":
        audit.launch(names, args.run, args.clients, args.rate, args.lifetime)
    elif args.verb == "clients":
        audit.clients(names[0], args.run, args.clients, args.rate, args.lifetime)
    elif args.verb == "status":
        audit.status(names)
    elif args.verb == "stop":
        audit.stop()
    elif args.verb == "readback":
        audit.read_back(names[0], args.run, args.deadline)
    elif args.verb == "drill":
        smoke.in_parallel(names, "restore drill", lambda n: drill.drill(n, args.run), args.deadline)
    else:
        audit.fetch(names[0], args.file)


main()
sys.stdout.flush()
os._exit(0)  # a probe's thread that hangs must not keep the pod's process
