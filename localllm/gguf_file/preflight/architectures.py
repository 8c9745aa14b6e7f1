"""What llama.cpp's model code assumes of an architecture and asserts instead of checking.

Lists of names as `general.architecture` has them, collected from src/models of llama.cpp; an architecture
that is in none of them is checked less, not refused.
"""

from __future__ import annotations

from localllm.gguf_file.format import Key
from localllm.gguf_file.header import GGUFHeader


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# heads have the same size for keys and values, and all of it is rotated (`n_embd_head == n_rot`)
ROTATE_WHOLE_HEADS = _names("""
    apertus arcee arctic baichuan chameleon codeshell cogvlm cohere2moe dbrx deci deepseek dots1
    dream ernie4_5 ernie4_5-moe exaone exaone-moe exaone4 falcon granite granite_swa granitemoe
    graniteswitch grok grovemoe hunyuan-dense hunyuan-moe hunyuan_vl hy_v3 internlm2 jais2 llada
    llada-moe llama llama-embed llama4 maincoder mellum minicpm mistral3 olmo olmo2 olmoe orion
    paddleocr pangu-embedded plamo pockettts qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl
    qwen3vlmoe rnd1 seed_oss smallthinker smollm3 starcoder2 talkie xverse
""")
# heads have the same size for keys and values
EQUAL_HEADS = ROTATE_WHOLE_HEADS | _names("""
    afmoe bailingmoe2 bert bitnet bloom chatglm cohere2 command-r eurobert gemma4 glm4 glm4moe gpt2
    gptneox granitehybrid jais jina-bert-v2 jina-bert-v3 laguna maple minimax-01 minimax-m2
    minimax-m3 modern-bert mpt muse-glimmer nanbeige nemotron nemotron_h nemotron_h_moe neo-bert
    nomic-bert nomic-bert-moe openelm phi2 phi3 phimoe qwen qwen35 qwen35moe qwen3next qwen4exp
    refact spark2_5 stablelm starcoder t5 t5encoder
""")
# positions are not rotated, whatever the metadata says of rotation
WITHOUT_ROPE = _names("""
    arwkv7 bloom glm5-next gpt2 gptj jais jamba jina-bert-v2 kimi-k3 kimi-linear mamba mamba2 mpt
    nemotron_h nemotron_h_moe refact rwkv6 rwkv6qwen2 rwkv7 t5 t5encoder wavtokenizer-dec
""")
# rotate in sections (text, height, width), which the metadata has to give
ROTATE_IN_SECTIONS = _names("""
    paddleocr qwen2vl qwen3tts qwen3vl qwen3vlmoe qwen35 qwen35moe qwen4exp
""")
# the last layers may use keys and values of the last two before them, one with a window and one without
SHARE_KEYS = _names("gemma4")
# keep one compressed vector of each token in place of keys and values
LATENT = _names("deepseek2 deepseek32 glm-dsa")
# must have experts, and assert it
NEED_EXPERTS = _names("""
    bailingmoe2 glm4moe grovemoe llada-moe smallthinker
""")
# every layer has tensors of the same names and shapes; those `localllm convert` knows
UNIFORM = _names("""
    gemma2 gemma3 glm4 gpt-oss gpt2 gptneox granite llama mistral3 olmo2 phi3 qwen2 qwen2moe
    qwen2vl qwen3 qwen3moe qwen3vl smollm3 stablelm
""")
# what loads, if at all, but does not answer: why
_NO_LANGUAGE_MODELS = {
    "clip": "it is the projector of a vision model, not a model",
    "dflash": "it is a draft model, which runs only beside another one",
    "eagle3": "it is a draft model, which runs only beside another one",
    "gemma4-assistant": "it is a draft model, which runs only beside another one",
    "t5": "it is an encoder-decoder model, which is not supported",
    "wavtokenizer-dec": "it makes sounds, not text",
}
_NO_VOCABULARY = ("no_vocab", "none")


def kind_problem(header: GGUFHeader) -> str | None:
    """Return why a model cannot continue a text, if that is known."""
    if header.text(Key.TOKENIZER_MODEL) in _NO_VOCABULARY:
        return "it has no vocabulary"
    return _NO_LANGUAGE_MODELS.get(header.architecture)
