"""The template environment of all reports: escaping, undefined variables, files of the package."""

import configparser
import json
import shutil
import subprocess
import sys

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from ovocr.pages.rendering import environment
from tests.conftest import ROOT

REPORTS = (
    "ovocr.labelgen.inspection",
    "ovocr.vocab.coverage",
    "ovocr.trainer.evaluation",
    "ovocr.trainer.evaluation.reading",
    "ovocr.trainer.preview",
)
FOLDERS = sorted((ROOT / "ovocr").rglob("templates"))
HOSTILE = "</script><b title='\"'>&\u202e\x1b\u2028\n\udcff"
SHOWN = "&lt;/script&gt;&lt;b title=&#39;&#34;&#39;&gt;&amp;\\u202e\\x1b\\u2028\\n\\udcff"


def render(source: str, **values: object) -> str:
    return environment("ovocr.vocab.coverage").from_string(source).render(values)


@pytest.mark.parametrize(
    "source",
    [
        "{{ words }}",
        "{% macro show(each) %}{{ each }}{% endmacro %}{{ show(words) }}",
        "{% set block %}{{ words }}{% endset %}{{ block }}",
        "{{ [words] | join('') }}",
        "{{ words ~ '' }}",
        "{{ '%s' | format(words) }}",
        "{{ {'a': words}.a }}",
    ],
)
def test_printed_text_is_escaped_once_and_hidden_characters_are_shown(source: str) -> None:
    assert render(source, words=HOSTILE) == SHOWN


def test_json_cannot_end_its_element_and_shows_hidden_characters() -> None:
    dumped = render("{{ value | json_data }}", value={"words": [HOSTILE, ("<!--",)], "count": 2, "share": 0.5})
    assert not set(dumped) & set("<>&\u202e\x1b\u2028\n\udcff")
    shown = r"</script><b title='" + '"' + r"'>&\u202e\x1b\u2028\n\udcff"
    assert json.loads(dumped) == {"words": [shown, ["<!--"]], "count": 2, "share": 0.5}
    with pytest.raises(ValueError, match="JSON compliant"):
        render("{{ value | json_data }}", value=float("nan"))


def test_an_undefined_variable_raises() -> None:
    for source in ("{{ missing }}", "{% if missing %}{% endif %}", "{{ value.missing }}"):
        with pytest.raises(UndefinedError):
            render(source, value={})


def test_filters_of_numbers_and_images() -> None:
    assert render(
        "{{ 1234 | thousands }} {{ 0.1234 | percent }} {{ 1 | counted('tag') }} {{ 0 | counted('tag') }}"
    ) == ("1,234 12.3% 1 tag 0 tags")
    assert render("{{ jpeg | data_url }}", jpeg=b"\xff\xd8") == "data:image/jpeg;base64,/9g="


def test_a_bar_has_a_part_for_each_share() -> None:
    source = "{% from 'macros.html.j2' import bar %}{{ bar(['a', 'b'], [0.5, 1], label) }}"
    assert render(source, label='"') == (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="&#34;">'
        '<rect class="ground" width="100" height="10"/>'
        '<rect class="a" y="0" width="50.00" height="5.0"/><rect class="b" y="5.0" width="100.00" height="5.0"/></svg>'
    )


@pytest.mark.parametrize("package", REPORTS)
def test_every_template_compiles(package: str) -> None:
    made = environment(package)
    names = made.list_templates(extensions=["j2"])
    assert {"base.html.j2", "macros.html.j2", "page.html.j2"} <= set(names)
    for name in names:
        made.get_template(name)


def test_only_files_of_the_package_are_printed_unescaped() -> None:
    marked = {
        f"{path.name}: {line.strip()}"
        for folder in FOLDERS
        for path in folder.glob("*.j2")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "safe" in line or "autoescape" in line
    }
    assert marked == {
        "base.html.j2: <style>{{ style | safe }}</style>",
        "base.html.j2: <script>{{ script | safe }}</script>",
    }


def test_every_file_of_the_templates_is_package_data() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = [pattern.strip() for pattern in setup["options.package_data"]["*"].split(",")]
    assert len(FOLDERS) == len(REPORTS) + 2  # the templates of all pages, and the model card of an export
    for folder in FOLDERS:
        packaged = {path for pattern in patterns for path in folder.parent.glob(pattern)}
        assert packaged == set(folder.iterdir())
        assert (folder.parent / "__init__.py").exists()


def test_scripts_parse() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    scripts = [path for folder in FOLDERS for path in folder.glob("*.js")]
    assert len(scripts) == 2
    for script in scripts:
        subprocess.run([node, "--check", script], check=True)


def test_modules_of_pages_do_not_import_jinja2() -> None:
    program = (
        "import sys, ovocr.pages.rendering, ovocr.vocab.coverage.page\n"
        "print([name for name in ('jinja2', 'markupsafe') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_markup_of_a_macro_is_not_escaped_again() -> None:
    assert render("{{ value }}", value=Markup("<b>&amp;</b>")) == "<b>&amp;</b>"
