"""How long small requests take while one client sends the largest legal request again and again.

A service of its own answers `--clients` clients. Each sends a small request and, when the answer
is there, the next. In every second phase one of them sends the largest request that the service
takes in place of small ones. Phases with and without it alternate, so that what else the machine
does meets both alike; the figure is the ratio of the 99th percentiles of the small requests.

    python benchmarks/serve_load.py
    python benchmarks/serve_load.py --rounds 5 --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs" / "results" / "records" / "serve_load.json"
PAGE = ROOT / "docs" / "results" / "serve_load.md"
SMALL: Sequence[Mapping[str, Any]] = (
    {
        "module": "squad",
        "question": "Wo steht das Schloss?",
        "context": "Das Schloss steht über Prag.",
    },
    {"module": "mnli", "premise": "Ana joue du violon.", "hypothesis": "Ana joue."},
    {"module": "qqp-lora", "text_a": "How old is Ann?", "text_b": "What is Ann's age?"},
    {"module": "ccg", "words": ["She", "reads", "old", "letters", "."]},
)
SENTENCE = "Das Schloss wurde im neunten Jahrhundert über der Stadt gebaut. "


@dataclass
class Phase:
    """What the clients saw: seconds of small and of large requests, and other statuses than 200."""

    small: list[float] = field(default_factory=list)
    large: list[float] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0


def message(path: str, body: Mapping[str, Any]) -> bytes:
    """A whole request."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> int:
    """Sends a request over an open connection, and reads the answer; its status."""
    writer.write(sent)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    await reader.readexactly(int(length[1]) if length else 0)
    return int(head.split(b" ", 2)[1])


async def client(
    port: int, sent: Sequence[bytes], until: float, times: list[float], phase: Phase
) -> None:
    """Asks one thing after the other until the time is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    try:
        while time.monotonic() < until:
            begun = time.monotonic()
            status = await ask(reader, writer, sent[number % len(sent)])
            number += 1
            if status == 200:
                times.append(time.monotonic() - begun)
            else:
                phase.refused += 1
    finally:
        writer.close()


async def run_phase(
    port: int, small: Sequence[bytes], large: bytes | None, *, clients: int, seconds: float
) -> Phase:
    """One phase; `large` is what one of the clients sends, if any.

    The client that sends large requests leaves at the end without waiting for its answer.
    """
    phase = Phase()
    begun = time.monotonic()
    until = begun + seconds
    count = clients - 1 if large else clients
    big = asyncio.ensure_future(
        client(port, [large], until, phase.large, phase) if large else asyncio.sleep(0)
    )
    turns = [[*small[n % len(small) :], *small[: n % len(small)]] for n in range(count)]
    await asyncio.gather(*(client(port, turn, until, phase.small, phase) for turn in turns))
    big.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await big
    phase.seconds = time.monotonic() - begun
    return phase


def percentile(values: Sequence[float], part: float) -> float:
    """The value that this part of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def largest(max_tokens: int, max_bytes: int) -> dict[str, Any]:
    """A question and a context that together have nearly as many tokens as a request may.

    A long question leaves less room for the context, and so makes more windows.
    """
    from adapter_stilts.backbones import find_backbone

    tokenizer = find_backbone("embedded").tokenizer

    def tokens(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    question = "Wann wurde das Schloss gebaut? " * (80 // tokens("Wann wurde das Schloss gebaut? "))
    # The service counts texts in parts, which can cut a word into two.
    room = int(0.99 * (max_tokens - tokens(question)))
    context = SENTENCE * (room // tokens(SENTENCE))
    body = {"module": "squad", "question": question, "context": context}
    assert len(json.dumps(body).encode()) < max_bytes
    return body


@contextmanager
def service(options: Sequence[str]) -> Iterator[int]:
    """`adstilts serve` with the shipped modules, on a free port."""
    names = dict.fromkeys(str(each["module"]) for each in SMALL)
    wanted = [part for name in names for part in ("--with", name)]
    command = [sys.executable, "-m", "adapter_stilts", "serve", "--port", "0", *wanted, *options]
    environment = {**os.environ, "ADSTILTS_ZOO": str(ROOT / "adapters_zoo")}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                yield int(found[1])
                break
        else:
            raise SystemExit("the service did not start")
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The record of all rounds."""
    from adapter_stilts.environment import machine, versions
    from adapter_stilts.serving.limits import Limits

    limits = Limits()
    body = largest(limits.max_tokens, limits.max_bytes)
    small, large = [message("/predict", each) for each in SMALL], message("/predict", body)
    rounds = []
    with service(args.options) as port:
        asyncio.run(run_phase(port, small, None, clients=args.clients, seconds=5))
        alone = asyncio.run(run_phase(port, small, large, clients=1, seconds=0.1))
        for number in range(args.rounds):
            # Which of the two comes first alternates as well.
            order = (None, large) if number % 2 == 0 else (large, None)
            pair = {}
            for sent in order:
                phase = asyncio.run(
                    run_phase(port, small, sent, clients=args.clients, seconds=args.seconds)
                )
                pair["with" if sent else "without"] = summary(phase)
            pair["ratio"] = {"p99": pair["with"]["p99"] / pair["without"]["p99"]}
            rounds.append(pair)
            print(f"round {number + 1}: {json.dumps(pair)}", file=sys.stderr)
    return {
        "command": " ".join(["python benchmarks/serve_load.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "load": os.getloadavg()[0],
        "clients": args.clients,
        "seconds": args.seconds,
        "large_bytes": len(large),
        "large_alone_refused": alone.refused,
        "rounds": rounds,
        "ratio_p99": statistics.median(each["ratio"]["p99"] for each in rounds),
    }


def summary(phase: Phase) -> dict[str, float]:
    """The figures of a phase."""
    return {
        "small": len(phase.small),
        "per_second": len(phase.small) / phase.seconds,
        "p50": percentile(phase.small, 0.5),
        "p99": percentile(phase.small, 0.99),
        "large": len(phase.large),
        "refused": phase.refused,
    }


def page(record: Mapping[str, Any]) -> str:
    """The record as a page."""
    rounds = record["rounds"]
    ratios = [each["ratio"]["p99"] for each in rounds]
    lines = [
        "# Small requests beside the largest legal one",
        "",
        f"{record['clients']} clients of one service (embedded backbone, four modules), each with "
        "one small request at a time. In the phases *with*, one of them sends the largest legal "
        f"request ({record['large_bytes']:,} bytes) again and again. Phases of "
        f"{record['seconds']:g} s with and without it alternate.",
        "",
        f"The 99th percentile of small requests is **{record['ratio_p99']:.2f} times** as long "
        f"with it (median of {len(rounds)} rounds; {min(ratios):.2f} to {max(ratios):.2f}).",
        "",
        "| round | large request | small answered | a second | p50 (s) | p99 (s) | refused "
        "| large answered |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for number, each in enumerate(rounds, 1):
        lines += [
            f"| {number} | {kind} | {row['small']:,} | {row['per_second']:.1f} | {row['p50']:.2f} "
            f"| {row['p99']:.2f} | {row['refused']} | {row['large']} |"
            for kind in ("without", "with")
            for row in (each[kind],)
        ]
    if not any(each["with"]["large"] for each in rounds):
        lines += [
            "",
            "No large request was answered within its phase: beside so many others it gets one "
            "slice of 512 tokens whenever each of them has had its turn.",
        ]
    lines += [
        "",
        f"Machine: {record['machine']}, shared with other work (load {record['load']:.1f} at the "
        f"end), so that the times say little and their ratio is what counts. Measured "
        f"{record['date'][:10]} by `{record['command']}`; record: "
        "[records/serve_load.json](records/serve_load.json).",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, and writes record and page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=30.0, help="of a phase")
    parser.add_argument("--option", dest="options", action="append", default=[], help="of serve")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--page-only", action="store_true", help="from the record that is there")
    args = parser.parse_args()
    if not args.page_only:
        made = json.dumps(measure(args), indent=1)
        args.record.parent.mkdir(parents=True, exist_ok=True)
        args.record.write_text(made + "\n", encoding="utf-8")
    record = json.loads(args.record.read_text("utf-8"))
    args.page.write_text(page(record), encoding="utf-8")


if __name__ == "__main__":
    main()
