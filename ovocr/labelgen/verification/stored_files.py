"""Files as they are before anything is read of them: a pipe in the place of one would be waited for without end."""

import json
from pathlib import Path
from typing import Any

from ovocr.labelgen.verification.finding import Findings


def is_file(path: Path, findings: Findings, *, mend: str = "") -> bool:
    """Is it a regular file, or a link to one? Where it is not, that is noted."""
    if path.is_file():
        return True
    findings.add(path, "", "a file", "something else" if path.exists() else "missing", mend=mend)
    return False


def read_object(path: Path, findings: Findings, *, mend: str = "") -> dict[str, Any] | None:
    """The JSON object in a file; None, with a finding, where there is none."""
    if not is_file(path, findings, mend=mend):
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        findings.add(path, "", "readable", error.strerror, mend=mend)
        return None
    except (ValueError, RecursionError) as error:
        findings.add(path, "", "a JSON object", f"no JSON: {error}", mend=mend)
        return None
    if not isinstance(value, dict):
        findings.add(path, "", "a JSON object", f"other JSON: {value!r}", mend=mend)
        return None
    return value
