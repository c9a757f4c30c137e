"""The archives of a release: wheel, source distribution, the package's page, and the workflows that publish them."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest
import yaml

from ovocr import __version__
from tests.install.check_dist import metadata_of, obstacles
from tests.install.matrix import every_extra
from tests.install.trial import install_lines

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Not part of a checkout: version control, environments, what commands and tools write.
IGNORED = (".git", ".venv*", "*.egg-info", "build", "dist", "demo", "runs", "labels", "encoder", "site", ".reference")
CACHES = ("__pycache__", ".*_cache")
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)]*)\)")
BUILD = "import sys; from setuptools import build_meta as b; out = sys.argv[1]; b.build_sdist(out); b.build_wheel(out)"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a copy of the checkout, because a build writes into the folder."""
    folder = tmp_path_factory.mktemp("checkout") / "ovocr"

    def ignored(parent: str, names: list[str]) -> set[str]:
        patterns = (*CACHES, *IGNORED) if Path(parent) == ROOT else CACHES
        return shutil.ignore_patterns(*patterns)(parent, names)

    shutil.copytree(ROOT, folder, ignore=ignored)
    return folder


def build(checkout: Path, dist: Path) -> "subprocess.CompletedProcess[str]":
    """Builds both archives without an isolated environment, so without a registry."""
    command = [sys.executable, "-c", BUILD, dist]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def dist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    done = build(checkout, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deprecated" not in done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def in_wheel(dist: Path) -> set[str]:
    """Returns the names of the files in the wheel."""
    with zipfile.ZipFile(dist / f"ovocr-{__version__}-py3-none-any.whl") as wheel:
        return set(wheel.namelist())


@pytest.fixture(scope="module")
def in_source(dist: Path) -> set[str]:
    """Returns the names of the files in the source distribution, relative to the checkout."""
    with tarfile.open(dist / f"ovocr-{__version__}.tar.gz") as source:
        return {member.name.partition("/")[2] for member in source.getmembers() if member.isfile()}


@pytest.fixture(scope="module")
def metadata(dist: Path) -> Message:
    """Returns the metadata of the wheel."""
    return metadata_of(dist / f"ovocr-{__version__}-py3-none-any.whl")


def test_the_wheel_holds_the_package_alone(in_wheel: set[str]) -> None:
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ovocr").rglob("*") if path.is_file()}
    package = {name for name in package if "__pycache__" not in name}
    assert {"ovocr/py.typed", "ovocr/pages/templates/base.html.j2", "ovocr/pages/templates/base.css"} <= package
    assert {name for name in in_wheel if ".dist-info/" not in name} == package
    assert f"ovocr-{__version__}.dist-info/licenses/LICENSE" in in_wheel


def test_the_source_distribution_holds_every_linked_file(in_source: set[str]) -> None:
    links = [target.partition("#")[0] for _, target in LINK.findall(README)]
    links = [link for link in links if link and not link.startswith("https:")]
    assert len(links) > 30
    folders = {parent.as_posix() for name in in_source for parent in Path(name).parents}
    assert set(links) - in_source - folders == set()


def test_the_source_distribution_holds_every_file_of_the_repository(in_source: set[str]) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no repository here, so nothing to compare the source distribution with")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {name for name in listed.split("\0") if name and (ROOT / name).exists()} - in_source == set()
    written = {"PKG-INFO", *(name for name in in_source if name.startswith("ovocr.egg-info/"))}
    unknown = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert in_source - set(listed.split("\0")) - set(unknown.split("\0")) == written


def test_the_page_has_no_relative_link(metadata: Message) -> None:
    text = metadata.get_payload(decode=True).decode()
    links = LINK.findall(text)
    assert len(links) == len(LINK.findall(README))
    source = dict(url.split(", ") for url in metadata.get_all("Project-URL"))["Source"]
    for image, target in links:
        view = rf"raw/v{re.escape(__version__)}" if image else rf"(blob|tree)/v{re.escape(__version__)}"
        assert re.match(rf"{re.escape(source)}/{view}/[\w./-]+(#[\w-]+)?$", target), target
    # Links in other notations would have escaped the derivation.
    assert not re.findall(r"^\[[^\]]+\]:|<(?:a|img)\b|\]\[", text, re.MULTILINE)


def test_the_page_is_the_readme_otherwise(metadata: Message) -> None:
    def without_targets(text: str) -> str:
        return LINK.sub("[]", text).strip()

    assert without_targets(metadata.get_payload(decode=True).decode()) == without_targets(README)


def test_links_lead_to_the_tag_of_the_release(metadata: Message) -> None:
    text = metadata.get_payload(decode=True).decode()
    source = dict(url.split(", ") for url in metadata.get_all("Project-URL"))["Source"]
    assert f"]({source}/raw/v{__version__}/examples/figure.png)" in text
    assert f"]({source}/blob/v{__version__}/docs/architecture.md)" in text
    assert f"]({source}/tree/v{__version__}/benchmarks/results)" in text
    assert f"]({source}/blob/v{__version__}/README.md#evaluate)" in text


def test_metadata(metadata: Message) -> None:
    assert metadata["Name"] == "ovocr"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert all(metadata[field] for field in ("Summary", "Author", "Keywords"))
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert [url.split(", ")[0] for url in metadata.get_all("Project-URL")] == [
        "Source",
        "Documentation",
        "History",
        "Issues",
    ]


def test_the_package_can_be_built_without_the_rest_of_the_checkout(checkout: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    shutil.copytree(checkout / "ovocr", part / "ovocr")
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / name, part)
    done = build(part, tmp_path / "dist")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "dist").iterdir())) == 2


def archives(folder: Path, version: str, source: str) -> Path:
    """Writes a wheel and a source distribution with these metadata and returns the folder."""
    folder.mkdir()
    text = f"Metadata-Version: 2.4\nName: ovocr\nVersion: {version}\nProject-URL: Source, {source}\n"
    with zipfile.ZipFile(folder / f"ovocr-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"ovocr-{version}.dist-info/METADATA", text)
    inner = folder.parent / f"ovocr-{version}"
    inner.mkdir()
    (inner / "PKG-INFO").write_text(text)
    with tarfile.open(folder / f"ovocr-{version}.tar.gz", "w:gz") as sdist:
        sdist.add(inner, inner.name)
    return folder


def test_a_release_needs_the_address_of_the_repository(tmp_path: Path) -> None:
    without = archives(tmp_path / "without", "1.2", "https://github.com/OWNER/ovocr")
    assert obstacles(without) == obstacles(without, "v1.2")
    assert obstacles(without)[0].startswith("setup.cfg: project_urls has the placeholder OWNER")
    command = [sys.executable, "-m", "tests.install.check_dist", without]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0
    assert told.stdout == f"not to be published: {obstacles(without)[0]}\n"
    refused = subprocess.run([*command, "--tag", "v1.2"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stdout == told.stdout


def test_a_release_needs_the_tag_of_its_version(tmp_path: Path) -> None:
    release = archives(tmp_path / "release", "1.2", "https://github.com/people/ovocr")
    assert obstacles(release, "v1.2") == []
    (wrong,) = obstacles(release, "v1.3")
    assert wrong.startswith("tag v1.3: ovocr/__init__.py says version 1.2")
    archives(tmp_path / "other", "1.3", "https://github.com/people/ovocr")
    shutil.copy(tmp_path / "other" / "ovocr-1.3.tar.gz", release)
    assert "3 files of ovocr" in obstacles(release, "v1.2")[0]


def test_the_checkout_and_its_archives_agree_about_the_placeholder(dist: Path) -> None:
    placeholder = "/OWNER/" in (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert bool(obstacles(dist, f"v{__version__}")) == placeholder


def test_the_address_of_the_repository_is_in_one_place(checkout: Path) -> None:
    text = (checkout / "setup.cfg").read_text(encoding="utf-8")
    (address,) = re.findall(r"^\s+Source = (https://\S+)$", text, re.MULTILINE)
    suffixes = {".cfg", ".md", ".py", ".toml", ".yml"}
    files = [path for path in checkout.rglob("*") if path.suffix in suffixes]
    holding = [path for path in files if address in path.read_text(encoding="utf-8")]
    assert [path.relative_to(checkout).as_posix() for path in holding if path.name != Path(__file__).name] == [
        "setup.cfg"
    ]
    assert text.count(address) == 1


def test_install_lines_name_this_version_and_its_extras() -> None:
    lines = install_lines()
    assert lines[0] == ".[ocr,train]"
    assert lines[1:] == [f"dist/ovocr-{__version__}-py3-none-any.whl[ocr,train,vocab]"]
    table = README[README.index("| extra | adds |") :].split("\n\n")[0]
    documented = set(re.findall(r"^\| `([a-z0-9]+)` \|", table, re.MULTILINE))
    assert set(every_extra()) - documented == {
        "test",
        "interop",
        "dev",
        "docs",
        "release",
    }  # for work on ovocr: CONTRIBUTING.md
    assert documented <= set(every_extra())


@pytest.mark.parametrize("name", ["tests", "release"])
def test_workflows_run_targets_that_exist(name: str) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert steps
    for step in steps:
        assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step.get("uses", "actions/checkout@v1"))
        for target in re.findall(r"^make ([a-z-]+)", step.get("run", ""), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_release_workflow_checks_before_it_publishes() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    commands = "\n".join(step.get("run", "") for step in jobs["build"]["steps"])
    assert commands.index("make dist") < commands.index('tests.install.check_dist dist --tag "$GITHUB_REF_NAME"')
    assert "if" not in jobs["publish"]
