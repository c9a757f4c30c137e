"""Prints the rows of a run of `make faults` as a Markdown table: python -m tests.faults.table FOLDER"""

import json
import sys
from pathlib import Path

TITLES = ("area", "fault", "expected", "happened", "seconds")


def main(folder: Path) -> None:
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    print(f"| {' | '.join(TITLES)} |\n|{' --- |' * len(TITLES)}")
    for row in sorted(rows, key=lambda row: (row["area"], row["fault"])):
        print(f"| {' | '.join(str(row[title]).replace('|', '/') for title in TITLES)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
