"""
Why something of OpenAI's is not here, or only in part: what of the page is written by hand.

A pattern is about whatever it is found in at the end of `section path`, such as
`POST /responses body tools[]:function.strict`; see `paths.py` for paths. A test fails for a gap
that has no reason here, and for a reason about something that is here, or is nowhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

_HOSTED = (
    "additional_tools|apply_patch|custom|file_search|image_generation|local_shell|mcp|namespace|"
    r"programmatic_tool_calling|program|shell|tool_search|web_search|computer\w*"
)

_CHAT = "(reply ChatCompletion|chunks)"
_COMPLETING = "POST /chat/completions body"
_OR_REFUSED = "passed on to the model server; refused with the code interpreter"

# What is not here. The first that fits is told.
GAPS: dict[str, str] = {
    # ---- endpoints
    r"endpoints \w+ /chat/completions/.*|endpoints GET /chat/completions": "completions are not "
    "kept; responses are",
    r"endpoints DELETE /models/\{id\}": "models are the model server's",
    # ---- tools, and what they leave behind
    rf":({_HOSTED})(_\w+)?": "a tool that is neither the code interpreter nor a function "
    "of the client's; refused by its name",
    r"events :response\.(audio|custom_tool|file_search|image_generation|mcp|shell|web_search)"
    r"[\w.]*": "of hosted tools and of sound, which are not here",
    r"\.(allowed_callers|caller)": "of `programmatic_tool_calling`; ignored",
    r":function\.(async|defer_loading|output_schema)|:function_call(_output)?\.(async|namespace)"
    r"|:function_call_output\.name": "of hosted tools that call functions; ignored",
    # ---- of requests
    r"access_programs": "OpenAI's own contracts; ignored",
    r"context_management": "ignored; `POST /responses/compact` does it when it is asked to",
    r"(POST /responses\S* body|reply \w+) image": "of the tool that makes pictures",
    r"POST /responses body moderation|(reply ChatCompletion|chunks) moderation|"
    r"reply Response moderation\.\w+": "nothing is moderated here; ignored, and shown as null",
    r"prompt_cache_options|prompt_cache_breakpoint|prompt_cache_diagnostics"
    r"|cache_write_tokens_details": "what is cached is the model server's affair; ignored",
    r"reasoning\.(context|mode)": "models of others do not know it; ignored",
    r"personality": "of OpenAI's own models; ignored",
    r":configuration_update": "of OpenAI's own models; refused",
    r":compaction_trigger|:response\.compaction\.compacting": "of compaction while a response is "
    "at work; `POST /responses/compact` does it when it is asked to",
    r":message\.phase": "models of others do not say it; ignored",
    r"input_file\.detail": "files are given to code, not shown to the model; ignored",
    r"body \w+\[\]:(message|function_call|function_call_output|reasoning)\.status": "what is sent "
    "has been completed; ignored",
    r"body \w+\[\]:message\.content\[\]:output_text\.(annotations|logprobs)": "the text is enough "
    "for the model; ignored",
    r"GET /responses/\{id\} query include_obfuscation": "events are never padded; ignored",
    # ---- of replies
    r":(compaction|function_call|function_call_output)\.created_by": "there are no users below "
    "an organization",
    r"reply Item :function_call_output\.output\[\]:input_\w+": "files and pictures in an output "
    "are shown as a message after it",
    r"reply Response output\[\]:function_call_output": "of functions that OpenAI calls itself",
    r"reply Item :message\.content\[\]:(computer_\w+|(reasoning_|summary_)?text)": "parts that no "
    "endpoint takes",
    r"reply Item :message\.content\[\]:input_file\.file_(data|url)": "a file that came with its "
    "content is shown by its id",
    r"annotations\[\]:(file_citation|file_path|url_citation)": "nothing is searched here; files "
    "are cited with `container_file_citation`",
    r"output_text\.logprobs\[\]\.\w+": "model servers are not asked for log probabilities: the "
    "list is empty",
    r"reasoning\.status": "reasoning is shown when it is complete",
    r"events :response\.reasoning_summary_\w+\.\w+": "models of others give their reasoning "
    "as it is, not summed up: `response.reasoning_text.*`",
    r"reply Compaction output\[\]:(?!compaction)\w+": "what the user said is in the compaction "
    "item, not before it",
    r"reply Response output\[\]:compaction": "of compaction while a response is at work",
    r"reply Model shutdown_date": "model servers do not say",
    r"reply Response error\.(misalignment|param|type)": "an error of a run has a code and a "
    "sentence",
    r"reply Response input_transformations": "input is not changed",
    r"reply Response instructions\[\]:\w+": "instructions are text",
    r"reply Response prompt": "there are no stored prompts here",
    r"reply Response reasoning\.generate_summary": "shown as `summary`, which took its place",
    r"reply Response tool_usage": "of hosted tools that cost by use",
    r"reply Response tools\[\]:code_interpreter\.container:auto\.network_policy:(disabled"
    r"|allowlist\.domain_secrets)": "shown where domains are allowed, without secrets",
    rf"{_CHAT} choices\[\]\.logprobs\.\w+": "null where this server answers",
    rf"{_CHAT} choices\[\]\.(message|delta)\.(audio|function_call)": "of models that "
    "speak, and of deprecated functions; tools take their place",
    r"reply ChatCompletion metadata": "completions are not kept",
    rf"{_CHAT} usage\.\w+\.(text|image|cache_write)_tokens": "model servers do not say",
    r"chunks obfuscation": "chunks are never padded",
    # ---- of streams
    r"events :error": "a stream that goes wrong ends with `response.failed`, whose error says why",
}

# What is not read here and is passed on as it is, to a model server that may know it.
PASSED_ON: dict[str, str] = {
    rf"{_COMPLETING} (audio|function_call|functions\[\])\.\w+": _OR_REFUSED,
    rf"{_COMPLETING} .*:(custom|input_audio)": _OR_REFUSED,
    rf"{_COMPLETING} (messages\[\]\.(audio|function_call|name)|moderation|"
    r"prompt_cache_options|.*\.prompt_cache_breakpoint|"
    r"prediction:content\.content|web_search_options)": "passed on to the model server; with the "
    "code interpreter too, or ignored",
}

# What is here, but is not all that it is at OpenAI.
PARTIAL: dict[str, str] = {
    rf"{_COMPLETING} (n|(top_)?logprobs|modalities|audio|functions|function_call)": _OR_REFUSED,
    rf"{_COMPLETING} (store|metadata)": "passed on to the model server; with the code interpreter "
    "checked, and of no effect",
    r"POST /responses/input_tokens": "an estimate: the server has not the model's tokenizer",
    r"POST /responses body include": "`code_interpreter_call.outputs` does something, and with "
    "`input_items` also `message.input_image.image_url`; the others are accepted",
    r"POST /responses body (text\.verbosity|reasoning\.summary|reasoning\.generate_summary"
    r"|top_logprobs)": "checked and shown again; the model is not told",
    r"POST /responses body service_tier": "checked; there is one tier",
    r"POST /responses body prompt_cache_(key|retention)": "shown again; what is cached is the "
    "model server's affair",
    r"POST /responses body stream_options\.include_obfuscation": "checked; events are never padded",
    r"network_policy:allowlist": "only domains that the operator lets containers reach",
    r":reasoning\.encrypted_content": "kept and shown as it came; it cannot be decrypted here",
    r"reply \w+ .*:reasoning\.summary\[\]:summary_text": "of items that a client brought from "
    "elsewhere; models of others give their reasoning as it is: `content`",
    r"input_image\.image_url": "a web address is passed on to the model server, and is no file "
    "for code",
    r"reply Response moderation": "always null",
    r"reply Response service_tier": "as it was asked for; `auto` is `default` when it has ended",
    r"cache_write_tokens": "always 0: model servers do not say",
    r"events :response\.output_text\.(delta|done)\.logprobs": "always empty",
}


class Refusal(NamedTuple):
    """
    A field that is known and refused, wherever `pattern` is found. A test sends `body` to `path`
    and waits for the answer that names `param`.
    """

    pattern: str
    why: str
    path: str
    body: dict[str, Any]
    param: str


_SECRETS = {
    "type": "allowlist",
    "allowed_domains": ["example.com"],
    "domain_secrets": [{"domain": "example.com", "name": "KEY", "value": "v"}],
}
_AT_ADDRESS = [
    {
        "role": "user",
        "content": [{"type": "input_file", "file_url": "https://example.com/a.pdf"}],
    }
]
_NO_SECRETS = "the proxy does not look into what it carries, so it cannot put a secret there"

REFUSED = (
    Refusal(
        r"body prompt",
        "there are no stored prompts here; send their text",
        "/responses",
        {"input": "x", "prompt": {"id": "pmpt_1"}},
        "prompt",
    ),
    Refusal(
        r"body tools\[\]:code_interpreter\.container:auto\.\S*domain_secrets",
        _NO_SECRETS,
        "/responses",
        {
            "input": "x",
            "tools": [
                {
                    "type": "code_interpreter",
                    "container": {"type": "auto", "network_policy": _SECRETS},
                }
            ],
        },
        "tools[0].container.network_policy.domain_secrets",
    ),
    Refusal(
        r"POST /containers body network_policy:allowlist\.domain_secrets",
        _NO_SECRETS,
        "/containers",
        {"name": "x", "network_policy": _SECRETS},
        "network_policy.domain_secrets",
    ),
    Refusal(
        r"body \w+\[\]:\w+\.(content|output)\[\]:input_file\.file_url",
        "the server fetches nothing; send the file, or its content as `file_data`",
        "/responses",
        {"input": _AT_ADDRESS},
        "input[0].content[0].file_url",
    ),
    Refusal(
        r"POST /containers body skills",
        "a folder of files does the same: put them into the container",
        "/containers",
        {"name": "x", "skills": [{"type": "skill_reference", "skill_id": "skill_1"}]},
        "skills",
    ),
)

# Of which nothing is served here, by the first part of their paths.
GROUPS: dict[str, str] = {
    "agents": "a hosted product of its own",
    "assistants": "not yet: the Assistants API, which OpenAI has shut down",
    "audio": "not about code; ask the model server",
    "batches": "a queue of OpenAI's for cheaper tokens; responses of any number can be at work",
    "chatkit": "a hosted product of its own",
    "completions": "older than chat; ask the model server",
    "content_provenance_checks": "about OpenAI's own pictures",
    "decisions": "a hosted product of its own",
    "embeddings": "not about code; ask the model server",
    "evals": "a hosted product of its own",
    "fine_tuning": "models are the model server's",
    "images": "not about code; ask the model server. Code draws and changes pictures",
    "live": "speech; not about code",
    "moderations": "not about code; ask the model server",
    "organization": "users, projects and bills of OpenAI's; keys are made with `sanderling keys`",
    "projects": "as `organization`",
    "realtime": "speech; not about code",
    "safety": "about OpenAI's own users",
    "skills": "not yet",
    "threads": "not yet: the Assistants API, which OpenAI has shut down",
    "vaults": "a hosted product of its own",
    "vector_stores": "search in files is another tool; code can read and search every file",
    "videos": "not about code",
    "webhook_endpoints": "OpenAI's calls to servers of others; this server calls nobody",
    "webhook_event_types": "as `webhook_endpoints`",
}
