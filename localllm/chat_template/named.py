"""Well-known chat templates by name, for models whose file has none, or a wrong one.

Each is written after the format's own description: ChatML (OpenAI), Llama 2 and 3 (Meta), Mistral's instruct
models (v1), Gemma (Google), Phi-3 (Microsoft), Zephyr (Hugging Face H4), Vicuna 1.1 (FastChat), Alpaca
(Stanford).
"""

from __future__ import annotations

import difflib
from pathlib import Path

from localllm.errors import NotFoundError, StorageError, UsageError

_MAX_BYTES = 1024 * 1024

TEMPLATES = {
    "chatml": (
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama-2": (
        "{% set system = messages[0]['content'] if messages[0]['role'] == 'system' else none %}"
        "{% for message in messages if message['role'] != 'system' %}"
        "{% set head = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' if loop.first and system else '' %}"
        "{% if message['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + head + message['content'] | trim + ' [/INST]' }}"
        "{% else %}{{ ' ' + message['content'] | trim + ' ' + eos_token }}{% endif %}"
        "{% endfor %}"
    ),
    "llama-3": (
        "{{ bos_token }}"
        "{% for message in messages %}"
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
        "{{ message['content'] | trim + '<|eot_id|>' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "mistral": (
        "{{ bos_token }}"
        "{% for message in messages %}"
        "{% if message['role'] == 'system' %}{{ raise_exception('there is no system role') }}{% endif %}"
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}"
        "{% endfor %}"
    ),
    "gemma": (
        "{{ bos_token }}"
        "{% for message in messages %}"
        "{% if message['role'] == 'system' %}{{ raise_exception('there is no system role') }}{% endif %}"
        "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\n' }}"
        "{{ message['content'] | trim + '<end_of_turn>\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    ),
    "phi-3": (
        "{% for message in messages %}"
        "{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    ),
    "zephyr": (
        "{% for message in messages %}"
        "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    ),
    "vicuna": (
        "{{ bos_token }}"
        "{% for message in messages %}"
        "{% if message['role'] == 'system' %}{{ message['content'] + ' ' }}"
        "{% elif message['role'] == 'user' %}{{ 'USER: ' + message['content'] + ' ' }}"
        "{% else %}{{ 'ASSISTANT: ' + message['content'] + eos_token }}{% endif %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
    "alpaca": (
        "{{ bos_token }}"
        "{% for message in messages %}"
        "{% if message['role'] == 'system' %}{{ message['content'] + '\n\n' }}"
        "{% elif message['role'] == 'user' %}{{ '### Instruction:\n' + message['content'] + '\n\n' }}"
        "{% else %}{{ '### Response:\n' + message['content'] + '\n\n' }}{% endif %}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
    ),
}


def find_template(text: str) -> str:
    """Return the source of a template given by NAME or as a file.

    Raise NotFoundError with the nearest names, UsageError for a file that cannot be one, StorageError.
    """
    path = Path(text).expanduser()
    name = text.lower().replace("_", "-").removesuffix(".jinja")
    if name in TEMPLATES and not path.is_file():
        return TEMPLATES[name]
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        near = difflib.get_close_matches(name, TEMPLATES, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known by name: {', '.join(TEMPLATES)}"
        raise NotFoundError(f"there is no template and no file `{text}`", hint=hint) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(f"cannot read the template {text}: {reason}") from None
    if len(content) > _MAX_BYTES:
        raise UsageError(f"the template {text} is larger than {_MAX_BYTES} bytes")
    try:
        source = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"the template {text} is not text in UTF-8") from None
    if not source.strip():
        raise UsageError(f"the template {text} is empty")
    return source
