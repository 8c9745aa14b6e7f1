"""A checkpoint in Hugging Face's layout and an adapter in PEFT's."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from demo_corpus.encoding import MESSAGE_END, SPECIAL_TOKENS, TEXT_END
from safetensors.torch import load_file, save
from tokenizers import Tokenizer

from demo_training.llama import Llama, Shape

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def save_model(model: Llama, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the checkpoint in Hugging Face's layout, weights rounded to bf16."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        f"model.{name}": value.to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()
    }
    (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **asdict(model.shape),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": ids[TEXT_END],
        "eos_token_id": ids[MESSAGE_END],
        "pad_token_id": ids[TEXT_END],
        "torch_dtype": "bfloat16",
    }
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": TEXT_END,
        "eos_token": MESSAGE_END,
        "pad_token": TEXT_END,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": model.shape.max_position_embeddings,
        "added_tokens_decoder": {
            str(number): {
                "content": token,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": True,
            }
            for token, number in ids.items()
        },
    }
    generation = {
        "bos_token_id": ids[TEXT_END],
        "eos_token_id": [ids[MESSAGE_END], ids[TEXT_END]],
        "pad_token_id": ids[TEXT_END],
        "do_sample": True,
        "temperature": 0.3,
        "top_p": 0.9,
    }
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer_config.json", tokenizer_config)
    write_json(folder / "generation_config.json", generation)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8", newline="\n")


def load_model(folder: Path) -> tuple[Llama, Tokenizer]:
    """Read back what `save_model` wrote."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = Llama(Shape(**{name: config[name] for name in asdict(Shape())}))
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict({name.removeprefix("model."): value.float() for name, value in weights.items()})
    return model, Tokenizer.from_file(str(folder / "tokenizer.json"))


def save_adapter(model: Llama, folder: Path, *, rank: int, alpha: float) -> None:
    """Write the LoRA of a model in PEFT's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name, _ in model.named_parameters() if ".lora_" in name]
    values = dict(model.named_parameters())
    weights = {
        f"base_model.model.model.{name}.weight": values[name].detach().float().contiguous() for name in names
    }
    (folder / "adapter_model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "models/demo",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted({name.split(".")[-2] for name in names}),
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "inference_mode": True,
    }
    write_json(folder / "adapter_config.json", config)


def write_json(path: Path, value: object) -> None:
    """Write JSON the way a person would read it."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8", newline="\n")


def write_tasks(tasks: list[dict[str, Any]], path: Path) -> None:
    """Write the held-out tasks, one JSON object a line."""
    lines = [json.dumps(task, ensure_ascii=False) for task in tasks]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
