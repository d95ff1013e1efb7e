from __future__ import annotations

import pytest
from jinja2 import Environment

from llmkit import prompts

GOOD = "---\ndescription: Greets\nvariables: {name: Who}\n---\nHello {{ name }}!\n"


@pytest.fixture
def library(tmp_path):
    def write(text: str, name: str = "greet", version: int = 1):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / f"v{version}.j2").write_text(text)
        return tmp_path

    return write


def test_load_and_render(library):
    prompt = prompts.load("greet", library=library(GOOD))
    assert (prompt.name, prompt.version, prompt.description) == ("greet", 1, "Greets")
    assert prompt.variables == {"name": {"type": "string", "description": "Who"}}
    assert prompt.render(name="Ana") == "Hello Ana!"


def test_the_newest_version_by_number_is_the_default(library):
    library(GOOD)
    library(GOOD.replace("Hello", "Hi"), version=2)
    folder = library(GOOD.replace("Hello", "Hey"), version=10)
    assert prompts.load("greet", library=folder).render(name="Bo") == "Hey Bo!"
    assert prompts.load("greet", 2, library=folder).render(name="Bo") == "Hi Bo!"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Hello", "front matter"),
        ("---\n- a\n---\nx", "no mapping"),
        ("---\na: [\n---\nx", "no YAML"),
        ("---\nvariables: {}\n---\nHello {{ name }}", "name without declaring it"),
        ("---\nvariables: {}\n---\n{% if %}", "no Jinja2 template"),
    ],
)
def test_a_broken_prompt_is_told_when_it_is_loaded(library, text, says):
    with pytest.raises(prompts.PromptError, match=says):
        prompts.load("greet", library=library(text))


def test_what_does_not_exist_is_told_with_what_does(library):
    folder = library(GOOD)
    with pytest.raises(prompts.PromptError, match="there are: greet"):
        prompts.load("nope", library=folder)
    with pytest.raises(prompts.PromptError, match="no version 7; it has 1"):
        prompts.load("greet", 7, library=folder)


def test_missing_and_unknown_variables_fail_before_any_call(library):
    prompt = prompts.load("greet", library=library(GOOD))
    with pytest.raises(prompts.PromptError, match="needs a value for: name"):
        prompt.render()
    with pytest.raises(prompts.PromptError, match="does not declare: nmae"):
        prompt.render(name="Ana", nmae="Bo")


def test_values_are_data_and_templates_stay_in_the_sandbox(library):
    prompt = prompts.load("greet", library=library(GOOD))
    assert prompt.render(name="{{ 7 * 7 }}") == "Hello {{ 7 * 7 }}!"
    escape = prompts.load("greet", library=library(GOOD.replace("{{ name }}", "{{ name.__class__.__mro__ }}")))
    with pytest.raises(prompts.PromptError, match="must not do"):
        escape.render(name="Ana")


def test_rendered_once_leaves_every_text_alone():
    environment = Environment(**prompts.rendered_once())
    for text in ("{{ 6 * 7 }}", "{% raw %}", "{# x #}", "{{ var.value.secret }} {% for %}", "{" * 9):
        assert environment.from_string(text).render() == text
    assert prompts.rendered_once() != prompts.rendered_once(), "nobody can guess the delimiters"


def test_all_prompts_of_the_course_load():
    for name in prompts.names():
        for prompt in prompts.versions(name):
            assert prompt.description and prompt.template.strip()


@pytest.mark.parametrize(
    "name", ["../outside", "../../x", "a/../../outside", "/etc", "{absolute}", "..", ".", "", "a/b", "a\\b", "a\0b", "link", "*", "_house"]
)  # fmt: skip
def test_a_name_never_leads_out_of_the_library(name, tmp_path):
    library = tmp_path / "library"
    for folder in (library / "a", library / "_house", tmp_path / "outside"):
        folder.mkdir(parents=True)
        (folder / "v1.j2").write_text("---\ndescription: d\n---\nsecret")
    (library / "link").symlink_to(tmp_path / "outside")
    name = name.format(absolute=tmp_path / "outside")
    for ask in (prompts.load, prompts.versions):
        with pytest.raises(prompts.PromptError, match="There is no prompt"):
            ask(name, library=library)


def test_a_version_that_is_a_link_out_of_the_library_is_none(tmp_path):
    library = tmp_path / "library"
    (library / "a").mkdir(parents=True)
    (tmp_path / "secret.j2").write_text("---\ndescription: d\n---\nsecret")
    (library / "a" / "v1.j2").symlink_to(tmp_path / "secret.j2")
    with pytest.raises(prompts.PromptError, match="There is no prompt a"):
        prompts.load("a", library=library)


@pytest.mark.parametrize("version", ["1", "../v1", "1/../../x", 1.0, True])
def test_a_version_is_a_whole_number(version):
    with pytest.raises(prompts.PromptError, match="has no version"):
        prompts.load(prompts.names()[0], version)


@pytest.mark.parametrize("part", ["../../outside/v1.j2", "/etc/hostname", "{absolute}", "link/v1.j2"])
def test_a_template_takes_in_nothing_from_outside(part, tmp_path):
    library = tmp_path / "library"
    for folder in (library / "a", tmp_path / "outside"):
        folder.mkdir(parents=True)
    (tmp_path / "outside" / "v1.j2").write_text("---\ndescription: d\n---\nsecret")
    (library / "link").symlink_to(tmp_path / "outside")
    part = part.format(absolute=tmp_path / "outside" / "v1.j2")
    (library / "a" / "v1.j2").write_text(f'---\ndescription: d\n---\n{{% include "{part}" %}}')
    with pytest.raises(prompts.PromptError, match="is not in"):
        prompts.load("a", library=library)
