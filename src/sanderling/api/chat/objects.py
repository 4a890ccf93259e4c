"""
Records as a chat completion shows them: code that ran, what it showed, files it made. Pure.

All of it stands in one field of the assistant's message that OpenAI does not have,
`code_interpreter`; a message of a run that ran no code is exactly OpenAI's.

Source: OpenAI API reference, "The chat completion object"; docs/api-extensions.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sanderling.api.responses import objects as responses
from sanderling.records import (
    Artifact,
    Citation,
    CodeCallItem,
    ImageOutput,
    LogsOutput,
    Output,
    Run,
    Usage,
)

# How a run that a limit cut short is told; everything else is `stop` or `tool_calls`.
FINISH_OF_REASON = {"max_output_tokens": "length", "content_filter": "content_filter"}


def completion_id(run: Run) -> str:
    """Return the id of a completion, made from its run's so that the two can be found together."""
    return "chatcmpl-" + run.id.partition("_")[2]


def envelope(run: Run, object: str) -> dict[str, Any]:
    """Return what a completion and all of its chunks begin with."""
    return {
        "id": completion_id(run),
        "object": object,
        "created": int(run.created_at),
        "model": run.request.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the tokens of all turns."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def call_object(item: CodeCallItem) -> dict[str, Any]:
    """Return a cell that ran."""
    return {
        "id": item.id,
        "status": item.status,
        "container_id": item.container_id,
        "code": item.code,
        "outputs": output_objects(item.outputs),
    }


def output_objects(outputs: Sequence[Output]) -> list[dict[str, Any]]:
    """Return what a cell showed: logs, those of one burst together, and images."""
    shown: list[dict[str, Any]] = []
    is_burst = False
    for output in outputs:
        if isinstance(output, LogsOutput) and is_burst:
            shown[-1]["logs"] += output.logs
        else:
            shown.append(output_object(output))
        is_burst = isinstance(output, LogsOutput)
    return shown


def output_object(output: Output) -> dict[str, Any]:
    """Return one output as Responses shows it; an image with the id of its file."""
    shown = responses.output_object(output)
    return {**shown, "file_id": output.file_id} if isinstance(output, ImageOutput) else shown


def file_object(artifact: Artifact) -> dict[str, Any]:
    """Return a file that the code left, as a container file."""
    return {
        "id": artifact.file_id,
        "object": "container.file",
        "container_id": artifact.container_id,
        "filename": artifact.filename,
        "path": artifact.path,
        "bytes": artifact.bytes,
        "created_at": int(artifact.created_at),
        "mime_type": artifact.mime_type,
    }


def annotation_object(citation: Citation, *, offset: int) -> dict[str, Any]:
    """
    Return where in the content a file is linked; 0 to 0 is a file that no text links.

    offset: where the text that the citation counts in begins within the content.
    """
    shift = offset if citation.end > citation.start else 0
    return {
        **responses.annotation_object(citation),
        "start_index": citation.start + shift,
        "end_index": citation.end + shift,
    }
