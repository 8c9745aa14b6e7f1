"""`localllm serve`."""

from __future__ import annotations

from localllm.cli import serve_options as options
from localllm.cli.chat.options import CacheTypeOpt, FlashAttentionOpt, GpuLayersOpt, LoraOpt, TemplateOpt
from localllm.cli.options import JsonOpt, QuietOpt, ThreadsOpt
from localllm.cli.output import Output


def serve(
    models: options.ServedArg,
    host: options.HostOpt = "127.0.0.1",
    port: options.PortOpt = 8080,
    parallel: options.ParallelOpt = 4,
    queue: options.QueueOpt = 64,
    api_key: options.ApiKeyOpt = None,
    api_key_file: options.ApiKeyFileOpt = None,
    allow_host: options.AllowHostOpt = None,
    allow_origin: options.AllowOriginOpt = None,
    context: options.ServeContextOpt = "auto",
    threads: ThreadsOpt = None,
    gpu_layers: GpuLayersOpt = "auto",
    cache_type: CacheTypeOpt = "f16",
    flash_attention: FlashAttentionOpt = "auto",
    lora: LoraOpt = None,
    template: TemplateOpt = None,
    keep_alive: options.KeepAliveOpt = None,
    grace: options.GraceOpt = None,
    max_body: options.MaxBodyOpt = None,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> int:
    """Answer programs written for OpenAI's API.

    Chat completions (with tools, JSON schemas, streaming), completions and embeddings under /v1, /health and
    /metrics. One model is loaded at once, several when they are first asked for. Only this machine can
    reach the server unless `--host` says otherwise, and then requests need a key. Ctrl-C or SIGTERM end it;
    requests are logged on stderr, without their contents.
    """
    out = Output("serve", as_json=json, quiet=quiet)
    from localllm.server.extra import require_extra

    require_extra()
    from localllm.cli.chat.wishes import Wishes, engine_options
    from localllm.cli.serving import hold
    from localllm.server.keys import read_keys
    from localllm.server.settings import DEFAULT_GRACE_SECONDS, DEFAULT_MAX_BODY_BYTES, ServerSettings

    settings = ServerSettings(
        host=host,
        port=port,
        keys=read_keys(api_key or (), api_key_file),
        allowed_hosts=tuple(allow_host or ()),
        allowed_origins=tuple(allow_origin or ()),
        max_body_bytes=max_body or DEFAULT_MAX_BODY_BYTES,
        grace_seconds=DEFAULT_GRACE_SECONDS if grace is None else grace,
        logs_requests=not quiet,
    )
    engine = engine_options(
        Wishes(
            context=context,
            threads=threads,
            gpu_layers=gpu_layers,
            cache_type=cache_type,
            flash_attention=flash_attention,
            lora=lora or (),
            template=template,
        )
    )
    return hold(out, models, settings, engine, parallel=parallel, queue=queue, keep_alive_seconds=keep_alive)
