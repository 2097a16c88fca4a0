"""What every command does alike: outputs, exit codes, signals, run_start and run_end."""

import json
import os
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from cachemig import errors
from cachemig.agent.protocol import Outcome
from tests.cli.running import LIMIT_S, PROGRAM, cachemig, events

SCHEMA = json.loads((files("cachemig.report") / "events.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
CONFIG = '[site.a]\n[[site.a.server]]\nname = "s"\nurl = "/srv/s"\n'
RAISED = [
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.CachemigError)
]


def act(ending, *options, cwd, **more):
    """Run the command that ends as told."""
    return cachemig("act", ending, *options, cwd=cwd, script=PROGRAM, **more)


def told(run):
    """Read the lines of --json: all valid, from run_start to run_end, with the exit status."""
    lines = events(run.stdout)
    for line in lines:
        VALIDATOR.validate(line)
    assert [line["type"] for line in lines].count("run_start") == 1
    assert lines[0]["type"] == "run_start"
    assert lines[-1]["type"] == "run_end"
    assert lines[-1]["exit_code"] == run.returncode
    return lines


@pytest.mark.parametrize("name", RAISED)
def test_each_error_ends_with_its_exit_code_and_says_all_it_knows(name, tmp_path):
    """The status, the text for people and the JSON lines tell the same."""
    error = getattr(errors, name)

    run = act(name, "--json", cwd=tmp_path)

    assert run.returncode == error.exit_code
    *_, line, end = told(run)
    assert (line["type"], line["slug"], line["exit_code"]) == ("error", error.slug, run.returncode)
    assert (line["server"], line["path"], line["cause"]) == ("nfs-1", "a\nb", "why")
    assert end["outcome"] == errors.ExitCode(run.returncode).name.lower()
    assert run.stderr == (
        "cachemig: what\n"
        '  on nfs-1: "a\\nb"\n'
        "  because: why\n"
        "  next: do this\n"
        f"  more: docs/messages.md#{error.slug}\n"
    )


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_ends_with_its_exit_code(outcome, tmp_path):
    """The counts close over the plan: two of four have an outcome, so the run is partial."""
    run = act(outcome.value, "--json", cwd=tmp_path)

    end = told(run)[-1]
    assert end["planned"] == {"objects": 4, "bytes": 400}
    assert sum(end["counts"].values()) == 4
    assert sum(end["bytes"].values()) == 400
    assert end["counts"]["not_attempted"] == (3 if outcome is Outcome.NOT_ATTEMPTED else 2)
    assert run.returncode == (6 if outcome is Outcome.DAMAGED else 3)
    assert end["resume_command"] == f"cachemig act {outcome.value} --json"


def test_a_path_is_safe_to_print_and_can_be_got_back(tmp_path):
    """A terminal sees no escape of a foreign name; a script gets the bytes."""
    run = act("failed", "--json", cwd=tmp_path)

    line = next(line for line in told(run) if line["type"] == "object")
    assert line["path"] == "3f/a1/x\\x80\x1b[2J"
    assert line["path_b64"] == "M2YvYTEveIAbWzJK"
    assert "failed 3f/a1/x\\udc80\\x1b[2J on nfs-9" in run.stderr


def test_a_command_may_end_badly_without_an_error(tmp_path):
    """A check that found something has a result, and the code for it."""
    run = act("fail", "--json", cwd=tmp_path)

    assert run.returncode == errors.ExitCode.INTEGRITY
    assert run.stderr == ""
    assert told(run)[-1]["outcome"] == "integrity"


def test_a_fault_of_ours_is_told_with_its_traceback(tmp_path):
    """Exit code 1 means that we are to blame."""
    run = act("bug", "--json", cwd=tmp_path)

    assert run.returncode == 1
    assert told(run)[-2]["cause"].startswith("ZeroDivisionError")
    assert "Traceback" in run.stderr
    assert run.stderr.rstrip().endswith("docs/messages.md#internal")


@pytest.mark.parametrize(
    "argv",
    [
        ["act"],
        ["act", "log", "more"],
        ["act", "log", "--jso"],
        ["act", "log", "--quiet", "--verbose"],
        ["act", "log", "--no-such"],
        ["no-such"],
        [""],
        [],
        ["act", "config"],
        ["act", "\udce9"],
    ],
)
def test_a_usage_error_has_run_end_too(argv, tmp_path):
    """With --json the stream is whole even when the arguments are not understood."""
    run = cachemig(*argv, "--json", cwd=tmp_path, script=PROGRAM)

    if argv == ["act", "\udce9"]:
        assert run.returncode == 1  # no such ending: the test program's own fault
    else:
        assert run.returncode == 2
    lines = told(run)
    assert lines[-2]["type"] == "error"
    assert (
        run.stderr.splitlines()[0].removeprefix("Traceback (most").startswith(("cachemig: ", " "))
    )


def test_without_json_results_are_text_on_standard_output(tmp_path):
    """Tables are aligned, numbers to the right, sizes without guessing their unit."""
    run = act("show", cwd=tmp_path)

    assert run.stdout == "server    size\nnfs-1   12 KiB\nnfs-9      0 B\nthe end\n"
    assert run.stderr == ""


def test_with_json_results_are_rows_and_text_goes_to_standard_error(tmp_path):
    """Nothing but JSON Lines is on standard output; sizes are exact."""
    run = act("show", "--json", cwd=tmp_path)

    rows = [line["values"] for line in told(run) if line["type"] == "row"]
    assert rows == [{"server": "nfs-1", "size_bytes": 12_345}, {"server": "nfs-9", "size_bytes": 0}]
    assert run.stderr == "the end\n"


def test_how_much_people_read_is_their_choice(tmp_path):
    """-q leaves problems, the default sums up, -v tells what each pair of servers is about."""
    written = {
        option: act("failed", *([option] if option else []), cwd=tmp_path).stderr
        for option in ("-q", "", "-v")
    }

    summary = "1 present (100 B), 1 failed (100 B), 2 not attempted (200 B); to go on: "
    assert written["-q"] == ""
    assert "failed 3f/a1/x\\udc80" in written[""]
    assert summary in written[""]
    assert "nfs-1 -> nfs-9: 2 objects" not in written[""]
    assert "nfs-1 -> nfs-9: 2 objects to bring" in written["-v"]
    assert summary in written["-v"]


def test_an_errors_origin_is_told_who_wants_more(tmp_path):
    """-v adds where it was raised, for whoever has to mend it; hostile names stay visible."""
    plain, more = (act("AccessError", *v, cwd=tmp_path).stderr for v in ([], ["-v"]))

    assert "Traceback" not in plain
    assert more.startswith(plain)
    assert "program.py" in more.removeprefix(plain)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_with_run_end(number, tmp_path):
    """The status is 128 + the signal, what was done is told, and how to go on."""
    command = [sys.executable, str(PROGRAM), "act", "wait", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(3)]
        process.send_signal(number)
        rest = process.stdout.read()
        process.wait(timeout=LIMIT_S)

    end = events("".join(first) + rest)[-1]
    assert process.returncode == end["exit_code"] == 128 + number
    assert end["counts"]["published"] == 1
    assert end["counts"]["not_attempted"] == 1
    assert end["resume_command"] == "cachemig act wait --json"


def test_a_signal_amid_a_query_is_no_fault_of_ours(tmp_path):
    """DuckDB makes an error of its own of what a signal raises."""
    command = [sys.executable, str(PROGRAM), "act", "query", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(3)]
        loaded_s = processor_s(process.pid)
        while processor_s(process.pid) < loaded_s + 0.5:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        process.wait(timeout=LIMIT_S)

    end = events("".join(first) + rest)[-1]
    assert process.returncode == end["exit_code"] == 130


def processor_s(pid: int) -> float:
    """What a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")


def test_a_signal_never_tears_a_line(tmp_path):
    """However busy the output is, each line is whole and run_end is the last."""
    command = [sys.executable, str(PROGRAM), "act", "flood", "--json", "-q"]
    for lines_before in (1, 50, 333, 1000):
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            first = [process.stdout.readline() for _ in range(lines_before)]
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
        process.wait(timeout=LIMIT_S)

        lines = events((b"".join(first) + rest).decode())
        assert len(lines) > lines_before
        assert lines[-1]["exit_code"] == process.returncode == 143


def test_threads_may_tell_at_the_same_time(tmp_path):
    """No line is mixed with another, and every object is counted once."""
    lines = events(act("threads", "--json", "-q", cwd=tmp_path).stdout)

    assert len(lines) == 2 * 400 + 2
    assert lines[-1]["planned"] == {"objects": 800, "bytes": 80_000}
    assert lines[-1]["counts"]["published"] == 400


def test_a_reader_that_goes_away_ends_the_run(tmp_path):
    """What can not be told any more is not done any more; the code is not 0."""
    command = [sys.executable, str(PROGRAM), "act", "flood", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        process.wait(timeout=LIMIT_S)

    assert process.returncode == 1
    assert "standard output can not be written" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("ending", ["failed", "IncompleteError", "bug"])
def test_nobody_reading_standard_error_does_no_harm(ending, tmp_path):
    """The work goes on, and the exit code is that of the work."""
    reading, writing = os.pipe()
    os.close(reading)

    run = act(ending, "-v", "--json", cwd=tmp_path, stderr=writing)

    os.close(writing)
    assert run.returncode == (1 if ending == "bug" else 3)
    assert told(run)


@pytest.mark.parametrize("argv", [["act", "show"], ["act", "show", "--json"], ["--help"]])
def test_a_full_disk_behind_standard_output_is_a_failure(argv, tmp_path):
    """A script that keeps our output would keep half of it."""
    with Path("/dev/full").open("w") as full:
        run = cachemig(*argv, cwd=tmp_path, script=PROGRAM, stdout=full)

    assert run.returncode == 1
    assert "No space left" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_standard_streams_do_no_harm(closed, tmp_path):
    """No other file is taken for the output that is missing."""
    run = act("published", "--json", cwd=tmp_path, preexec_fn=lambda: os.close(closed))

    assert run.returncode == (1 if closed == 1 else 3)
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_is_known_by_its_digest(tmp_path):
    """Evidence says by which configuration a run was done; a command reads it when needed."""
    (tmp_path / "cachemig.toml").write_text(CONFIG)

    start, notice, _ = told(act("config", "--json", cwd=tmp_path))

    assert len(start["inputs"]["cachemig.toml"]) == 64
    assert notice["text"] == "a"


@pytest.mark.parametrize(
    "line", ['url = "ftp://h/srv"', 'url = "h:/srv"', 'url = "srv"', 'url = "/s"\nweight = -1.0']
)
def test_a_fault_in_the_configuration_is_all_that_is_told(line, tmp_path):
    """Also when the interpreter ends in the common way, and modules clean up after themselves."""
    text = f'[site.a]\n[[site.a.server]]\nname = "s"\n{line}\n'
    (tmp_path / "cachemig.toml").write_text(text)

    run = cachemig("scan", "a", cwd=tmp_path, script=PROGRAM)

    assert run.returncode == 2
    first, *more = run.stderr.splitlines()
    assert first.startswith("cachemig: cachemig.toml:")
    assert all(told.startswith("  ") for told in more), run.stderr


def test_the_run_log_holds_the_whole_run(tmp_path):
    """runs/<run_id>.jsonl is written without --json as well, and is the same."""
    (tmp_path / "cachemig.toml").write_text(CONFIG)

    run = act("log", "--json", cwd=tmp_path)

    lines = told(run)
    log = tmp_path / ".cachemig" / "runs" / f"{lines[0]['run_id']}.jsonl"
    logged = events(log.read_text())
    assert [line["type"] for line in logged] == ["run_start", "notice", "run_end"]
    assert logged[0]["run_id"] == lines[0]["run_id"]
    assert log.stat().st_mode & 0o7 == 0


def test_the_traceback_of_a_logged_run_lies_beside_its_log(tmp_path):
    """The terminal gets the cause, the file gets the details."""
    (tmp_path / "cachemig.toml").write_text(CONFIG)

    run = act("log-bug", cwd=tmp_path)

    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    (kept,) = (tmp_path / ".cachemig" / "runs").glob("*.traceback")
    assert str(kept.relative_to(tmp_path)) in run.stderr
    assert "ZeroDivisionError" in kept.read_text()


def test_a_state_directory_that_can_not_be_made_is_told(tmp_path):
    """The run does not begin without its evidence."""
    (tmp_path / "cachemig.toml").write_text(CONFIG)
    (tmp_path / ".cachemig").write_text("a file")

    run = act("log", "--json", cwd=tmp_path)

    assert run.returncode == 2
    assert ".cachemig/runs" in run.stderr
    assert told(run)[-1]["exit_code"] == 2


def test_secrets_are_not_repeated(tmp_path):
    """A password typed on the command line stays out of all that is kept."""
    run = cachemig(
        "act", "ssh://ops:hunter2@h/x", "--json", "--token=hunter2", "--password", "hunter2",
        cwd=tmp_path, script=PROGRAM,
    )  # fmt: skip

    assert run.returncode == 2
    assert "hunter2" not in run.stdout


def test_a_signal_is_answered_at_once_and_a_second_one_kills(tmp_path):
    """Whoever pressed Ctrl-C knows that it was heard, though the work takes seconds to end."""
    command = [sys.executable, str(PROGRAM), "act", "stuck", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while "stuck" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "cachemig: stopping; press Ctrl-C again to kill\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=LIMIT_S) == -signal.SIGINT
