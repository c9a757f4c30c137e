"""Makes the pages of the site that are not in docs/, and leads links of the checkout to pages of the site.

MkDocs calls ``on_config``, ``on_files`` and ``on_page_markdown``. Pages come from files of the checkout, so that no
text exists twice: README.md becomes three pages, the records of benchmarks become pages, and a linked source file
becomes a page with its text. What cannot be a page is linked in the repository, whose address is in setup.cfg.
"""

import configparser
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

from website.command_reference import command_reference

ROOT = Path(__file__).resolve().parents[1]
OWN_PAGES = Path(__file__).parent / "pages"
RECORDS = "benchmarks/results"
# README's sections on the first two pages; all others are on the third.
HOME_SECTIONS = ("How it works", "Licence")
INSTALL_SECTION = "Install"
# Files of the checkout -> pages of the site. A page of docs/ has its own name.
PAGES = {
    "README.md": "index.md",
    "docs/README.md": "documents.md",
    "CONTRIBUTING.md": "contributing.md",
    "HISTORY.md": "history.md",
    "examples/README.md": "examples.md",
    RECORDS: f"{RECORDS}/index.md",
}
# A relative link, with the beginning of its text if that is the name of a document.
LINK = re.compile(r"(\[[\w./-]+\.md)?\]\((?!https?:|mailto:)([^)\s]+)\)")
IMAGES = {".png", ".svg", ".jpg", ".webp"}
LANGUAGES = {".py": "python", ".toml": "toml", ".sbatch": "bash", ".cfg": "ini", ".yml": "yaml"}


def on_config(config: MkDocsConfig) -> None:
    """Adds the records of benchmarks to the navigation, the newest first."""
    entries = [{_title(path).replace("`", ""): f"{RECORDS}/{path.name}"} for path in _records()]
    for entry in config.nav:
        if "Benchmarks" in entry:
            entry["Benchmarks"] = [f"{RECORDS}/index.md", *entries]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and images that are not in docs/."""
    files.remove(files.get_file_from_path("README.md"))
    texts = {page: _read(path) for path, page in PAGES.items() if (ROOT / path).is_file()}
    texts |= {f"{RECORDS}/{path.name}": path.read_text(encoding="utf-8") for path in _records()}
    texts |= _pages_of_readme()
    texts[f"{RECORDS}/index.md"] = _list_of_records()
    texts["commands.md"] = command_reference()
    for path in OWN_PAGES.rglob("*"):
        name = path.relative_to(OWN_PAGES).as_posix()
        if path.suffix == ".md":
            texts[name] = path.read_text(encoding="utf-8")
        elif path.is_file():
            files.append(File.generated(config, name, abs_src_path=str(path)))
    for name in _linked_files([_origin(page) for page in [*texts, *files.src_uris]]):
        path = ROOT / name
        if path.suffix in IMAGES:
            files.append(File.generated(config, name, abs_src_path=str(path)))
        else:
            texts[_page_of_file(name)] = _source_page(path)
    for page, text in texts.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads the links of a page, which are relative to its place in the checkout, to pages of the site."""
    here = page.file.src_uri
    origin = _origin(here)
    if origin is None:
        return markdown
    titles = dict(_titles(config.nav))

    def rewritten(link: re.Match[str]) -> str:
        name, mark, heading = link[2].partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), name)) if name else origin
        target = _page_of(path, heading, files)
        if target is None:
            return f"{link[1] or ''}]({_address(path)}{mark}{heading})" if (ROOT / path).exists() else link[0]
        text = f"[{titles.get(target, link[1][1:])}" if link[1] else ""
        return f"{text}]({posixpath.relpath(target, posixpath.dirname(here) or '.')}{mark}{heading})"

    return LINK.sub(rewritten, markdown)


def _titles(nav: list[Any]) -> Iterator[tuple[str, str]]:
    """Yields pages and their titles in the navigation."""
    for entry in nav:
        if isinstance(entry, dict):
            for title, inside in entry.items():
                yield from [(inside, title)] if isinstance(inside, str) else _titles(inside)


def _page_of(path: str, heading: str, files: Files) -> str | None:
    """Returns the page or image of the site that shows a file of the checkout, or None."""
    if path == "README.md" and heading:
        return _page_of_heading(heading)
    candidates = (PAGES.get(path), path.removeprefix("docs/"), path, _page_of_file(path))
    return next((name for name in candidates if name and files.get_file_from_path(name)), None)


def _origin(page: str) -> str | None:
    """Returns the file of the checkout that a page shows, or None if the page exists on the site only."""
    if page in ("install.md", "overview.md"):
        return "README.md"
    if page.startswith(f"{RECORDS}/"):
        return page
    for path, name in PAGES.items():
        if name == page:
            return path
    return f"docs/{page}" if (ROOT / "docs" / page).is_file() else None


def _page_of_file(path: str) -> str:
    return f"files/{path}.md"


def _linked_files(origins: list[str | None]) -> list[str]:
    """Returns images and texts to which these files of the checkout link, but no documents: they are pages anyway."""
    found: set[str] = set()
    for origin in filter(None, origins):
        if not origin.endswith(".md") or not (ROOT / origin).is_file():
            continue
        for _, target in LINK.findall(_read(origin)):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target.partition("#")[0]))
            if Path(path).suffix in IMAGES | set(LANGUAGES) and (ROOT / path).is_file():
                found.add(path)
    return sorted(found)


def _source_page(path: Path) -> str:
    """Returns a page with the text of a file. The search leaves it out."""
    name = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding="utf-8").rstrip("\n")
    head = f"---\nsearch:\n  exclude: true\nhide: [navigation, toc]\n---\n# {name}\n\n"
    return f"{head}~~~~{LANGUAGES[path.suffix]}\n{text}\n~~~~\n"


def _sections(text: str) -> list[tuple[str, str]]:
    """Returns heading and text of each section of README.md; the beginning has the heading ''."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]


def _pages_of_readme() -> dict[str, str]:
    """Returns the pages that README.md becomes."""
    sections = dict(_sections(_read("README.md")))
    begin, install = sections.pop(""), sections.pop(INSTALL_SECTION)
    home = [f"## {heading}{sections.pop(heading)}" for heading in HOME_SECTIONS]
    rest = [f"## {heading}{text}" for heading, text in sections.items()]
    return {
        "index.md": begin + "".join(home),
        "install.md": f"# {INSTALL_SECTION}{install}",
        "overview.md": "# Overview\n\n" + "".join(rest),
    }


def _page_of_heading(heading: str) -> str:
    """Returns the page with a heading of README.md."""
    slug = slugify(case="lower")
    for page, text in _pages_of_readme().items():
        if heading in {slug(title, "-") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}:
            return page
    return "index.md"


def _list_of_records() -> str:
    rows = [f"- [{_title(path)}]({path.name})\n" for path in _records()]
    return "# Benchmarks\n\nRecords of all measurements, each with the command that made it.\n\n" + "".join(rows)


def _records() -> list[Path]:
    """Returns the records of benchmarks, by the date in their names, the newest first."""
    paths = sorted((ROOT / RECORDS).glob("*.md"))
    return sorted(paths, key=lambda path: path.stem[-len("2026-01-01") :], reverse=True)


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")


def _address(path: str) -> str:
    """Returns the address of a file or folder in the repository."""
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg", encoding="utf-8")
    source = metadata["metadata"]["project_urls"].strip().partition(" = ")[2]
    return f"{source}/{'tree' if (ROOT / path).is_dir() else 'blob'}/HEAD/{path}"


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
