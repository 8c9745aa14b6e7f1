"""Go templates are rendered as Go does it, and what is not known is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from localllm.chat_template import ChatTemplate
from localllm.export.conversations import CONVERSATIONS
from localllm.export.go_template import GoTemplate, GoTemplateError
from localllm.export.ollama_rendering import collated, render
from localllm.export.translation import translate
from tests.export.cases import known_templates

VALUES: dict[str, Any] = {
    "System": "S",
    "Empty": "",
    "Nobody": [],
    "Messages": [{"Role": "user", "Content": "a"}, {"Role": "assistant", "Content": "b"}],
}
# template -> what Go makes of it (text/template of Go 1.19)
CASES = {
    "plain": "plain",
    "a  {{- .System -}}  b": "aSb",
    "a {{ .System }} b": "a S b",
    "a\n{{- /* nothing */ -}}\n b": "ab",
    '{{ "\\u00e9\\t\\"" }}': 'é\t"',
    "{{ `a\\n` }}": "a\\n",
    '{{ "{{" }}{{ "}}" }}': "{{}}",
    "{{ if .Empty }}x{{ else if .System }}y{{ else }}z{{ end }}": "y",
    "{{ if and .System (not .Empty) }}x{{ end }}": "x",
    "{{ or .Empty .System }}|{{ and .System .Empty }}|": "S||",
    "{{ if or .Empty .Nobody }}x{{ else }}y{{ end }}": "y",
    "{{ range .Messages }}{{ .Role }} {{ end }}": "user assistant ",
    "{{ range $i, $m := .Messages }}{{ $i }}{{ $m.Content }}{{ $.System }}{{ end }}": "0aS1bS",
    "{{ range $m := .Messages }}{{ $m.Role }}{{ end }}": "userassistant",
    "{{ range .Nobody }}x{{ else }}none{{ end }}": "none",
    '{{ $x := "a" }}{{ range .Messages }}{{ $x }}{{ $x = .Content }}{{ end }}{{ $x }}': "aab",
    "{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}": "21",
    '{{ len .Messages }}{{ len .System }}{{ len (slice $.Messages 1) }}{{ len "é" }}': "2112",
    '{{ eq .System "T" "S" }}{{ ne 1 2 }}{{ eq (len (slice .Messages 1 2)) 1 }}': "truetruetrue",
    "{{ -1 }}": "-1",
}
REFUSED = {
    "{{ .System": "cannot read ''",
    "{{ if .System }}x": "not closed",
    "{{ end }}": "belongs to nothing",
    "{{ }}": "empty",
    "{{ printf .System }}": "`printf` is not known",
    "{{ .System | len }}": "is not known",
    "{{ .Missing }}": "no field Missing",
    "{{ $x }}": "undefined variable",
    "{{ $x = 1 }}": "undefined variable",
    '{{ eq 1 "1" }}': "different kinds",
    "{{ slice .Messages 3 }}": "out of range",
    "{{ range .System }}{{ end }}": "needs a list",
    "{{ .Messages }}": "only texts",
    "{{ not }}": "takes 1",
    "{{ eq 1 }}": "takes 2",
    "{{ and }}": "takes 1",
    "{{ (eq 1 1 }}": "not closed",
    "{{ (.System).Field }}": "parentheses",
    "{{ range $a, $b, $c := .Messages }}{{ end }}": "one or two",
    "{{ else }}": "belongs to nothing",
    "{{ if true }}{{ else }}{{ else }}{{ end }}": "not closed",
    '{{ "\\q" }}': "unknown escape",
    "{{ @ }}": "cannot read",
}


@pytest.mark.parametrize("source", CASES)
def test_it_renders_as_go_does(source: str) -> None:
    assert GoTemplate(source).render(VALUES) == CASES[source]


@pytest.mark.parametrize("source", REFUSED)
def test_what_is_wrong_or_unknown_is_refused(source: str) -> None:
    with pytest.raises(GoTemplateError, match=REFUSED[source]):
        GoTemplate(source).render(VALUES)


def test_ollama_puts_neighbours_together() -> None:
    messages = [
        {"role": "system", "content": "one"},
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "system", "content": "two"},
    ]
    template = GoTemplate("{{ .System }}|{{ range .Messages }}{{ .Role }}={{ .Content }};{{ end }}")
    assert render(template, messages) == "one\n\ntwo|system=one;user=a\n\nb;system=two;"
    assert messages[1]["content"] == "a"


_GO = """package main

import (
	"bytes"
	"encoding/json"
	"os"
	"text/template"
)

type Message struct{ Role, Content string }
type Case struct {
	Template, System string
	Messages         []*Message
}

func main() {
	var cases []Case
	json.NewDecoder(os.Stdin).Decode(&cases)
	texts := []string{}
	for _, each := range cases {
		made := template.Must(template.New("").Option("missingkey=zero").Parse(each.Template))
		var text bytes.Buffer
		given := map[string]any{"System": each.System, "Messages": each.Messages}
		given["Nobody"], given["Empty"] = []*Message{}, ""
		if err := made.Execute(&text, given); err != nil {
			panic(err)
		}
		texts = append(texts, text.String())
	}
	json.NewEncoder(os.Stdout).Encode(texts)
}
"""


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
def test_go_itself_agrees(tmp_path: Path) -> None:
    cases = [
        {"Template": source, "System": "S", "Messages": VALUES["Messages"], "Text": text}
        for source, text in CASES.items()
    ]
    for source in known_templates().values():
        template = ChatTemplate(source, bos="<s>", eos="</s>")
        made = translate(template, bos="<s>").source
        assert made is not None
        for conversation in CONVERSATIONS:
            joined = collated(conversation)
            system = [each["content"] for each in joined if each["role"] == "system"]
            cases.append(
                {
                    "Template": made,
                    "System": "\n\n".join(system),
                    "Messages": [{"Role": each["role"], "Content": each["content"]} for each in joined],
                    "Text": render(GoTemplate(made), conversation),
                }
            )
    program = tmp_path / "main.go"
    program.write_text(_GO, encoding="utf-8")
    run = subprocess.run(
        ["go", "run", str(program)],
        input=json.dumps(cases),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [case["Text"] for case in cases]
