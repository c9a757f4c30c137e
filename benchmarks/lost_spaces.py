"""Share of words recovered from lines without spaces, and share of runs that stay whole in lines with spaces.

    python benchmarks/lost_spaces.py FOLDER [--json FILE]

FOLDER has NNN.txt with the true lines of images. Recovered: of the words of three or more Latin letters that are in the
lexicon, the share that the line without spaces also gives. Whole: of all runs of two or more Latin letters that touch
no digit, the share that is one word.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import regex

from ovocr.vocab import Vocabulary, segment

RUN = regex.compile(r"(?<![\p{Latin}\p{M}0-9'])\p{Latin}{2,}(?![\p{Latin}\p{M}0-9'])")


def measure(lines: list[str], lexicon: Vocabulary) -> dict[str, float]:
    asked = back = runs = whole = 0
    for line in lines:
        words = Counter(segment(line))
        wanted = Counter(
            {run: n for run, n in Counter(RUN.findall(line.casefold())).items() if len(run) >= 3 and run in lexicon}
        )
        asked += wanted.total()
        back += (wanted & Counter(segment(line.replace(" ", "")))).total()
        latin = Counter(RUN.findall(line.casefold()))
        runs += latin.total()
        whole += (latin & words).total()
    return {"words": asked, "recovered": back / asked, "runs": runs, "whole": whole / runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    paths = sorted(options.folder.glob("*.txt"))
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    figures = measure(lines, Vocabulary.load("lexicon"))
    print(f"{len(lines)} lines of {len(paths)} texts")
    print(f"without spaces: {figures['recovered']:.4f} of {figures['words']} words recovered")
    print(f"with spaces: {figures['whole']:.4f} of {figures['runs']} runs stay whole")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
