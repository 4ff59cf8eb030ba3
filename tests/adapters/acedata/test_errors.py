"""AceDataCloud's errors: every form of body, every documented code, and the quotes of its messages."""

import html
import json
import random
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from app.adapters.acedata.errors import BackendErrorFields, code_for_log, error_fields_in, error_for, started_nothing
from app.adapters.acedata.policy import ACEDATACLOUD
from app.adapters.acedata.quotes import MAX_QUOTE_LENGTH, quotable
from app.adapters.private_text import repeats
from app.domain.errors import (
    AccountDisabled,
    BackendError,
    BackendTimeout,
    InvalidRequest,
    LumaError,
    NoCredit,
    RateLimited,
    Refused,
    Unauthorized,
)
from app.domain.generation import MAX_PROMPT_LENGTH

DOCUMENTED = [
    (400, "bad_request", "The json payload is not valid to request the API", InvalidRequest),
    (400, "bad_request", "prompt is required", InvalidRequest),
    (400, "no_token", "No token specified for the request.", Unauthorized),
    (400, "token_mismatched", "The specified token is not matched with API.", Unauthorized),
    (401, "token_mismatched", "token and api does not match.", Unauthorized),
    (400, "api_not_implemented", "The API is not implemented.", BackendError),
    (401, "invalid_token", "The specified token is invalid or wrong.", Unauthorized),
    (401, "token_expired", "token expired.", Unauthorized),
    (403, "used_up", "Your balance is not sufficient, buy more https://platform.acedata.cloud", NoCredit),
    (400, "disabled", "Your application has been disabled by Ace Data Cloud.", AccountDisabled),
    (403, "disabled", "Your application has been disabled by Ace Data Cloud.", AccountDisabled),
    (403, "forbidden", "Our Al moderators feel your prompt might be against our standards.", Refused),
    (404, "no_api", "API does not exist, please make sure url is correct.", BackendError),
    (429, "too_many_requests", "You have exceeded the rate limit.", RateLimited),
    (429, "rate_limited", "Concurrency limit exceeded for this token.", RateLimited),
    (500, "api_error", "Internal server error.", BackendError),
    (500, "api_error", "fetch failed", BackendError),
    (504, "timeout", "Timeout to generate the image.", BackendTimeout),
    (503, "busy", "Busy.", RateLimited),
    (413, "content_too_large", "Too large.", InvalidRequest),
    (403, "not_applied", "Apply for the API first.", Unauthorized),
]


@pytest.mark.parametrize(("status", "code", "message", "kind"), DOCUMENTED)
def test_a_documented_error_becomes_an_error_of_the_domain(
    status: int, code: str, message: str, kind: type[LumaError]
) -> None:
    body = {"error": {"code": code, "message": message}, "trace_id": "t"}
    assert type(error_for(error_fields_in(body), status)) is kind


@pytest.mark.parametrize(("status", "code", "message", "kind"), DOCUMENTED)
@pytest.mark.parametrize("other", [200, 400, 401, 403, 404, 429, 500, 504])
def test_the_code_takes_precedence_over_the_status(
    status: int, code: str, message: str, kind: type[LumaError], other: int
) -> None:
    assert type(error_for(BackendErrorFields(code, message), other)) is kind


@pytest.mark.parametrize("code", [None, "", "unknown", "canceled", "duplication", "something_new", "BAD_REQUEST"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (402, NoCredit),
        (403, BackendError),
        (404, BackendError),
        (405, BackendError),
        (408, BackendTimeout),
        (409, BackendError),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (429, RateLimited),
        (302, BackendError),
        (500, BackendError),
        (502, BackendError),
        (503, BackendError),
        (504, BackendTimeout),
        (599, BackendError),
    ],
)
def test_the_status_is_used_if_the_code_is_unknown(code: str | None, status: int, kind: type[LumaError]) -> None:
    assert type(error_for(BackendErrorFields(code), status)) is kind


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"error": {"code": "bad_request", "message": "No."}, "trace_id": "t"},
            BackendErrorFields("bad_request", "No."),
        ),
        ({"success": False, "error": {"code": "api_error", "message": "No."}}, BackendErrorFields("api_error", "No.")),
        ({"error": {"code": "api_error"}}, BackendErrorFields("api_error")),
        ({"error": {"message": "No."}}, BackendErrorFields(None, "No.")),
        ({"error": {"code": 400, "message": ["No."]}}, BackendErrorFields()),
        ({"error": {"code": None, "message": None}}, BackendErrorFields()),
        ({"error": {}}, BackendErrorFields()),
        ({"error": "No."}, BackendErrorFields(None, "No.")),
        ({"error": ""}, BackendErrorFields()),
        ({"error": None}, BackendErrorFields()),
        ({"error": None, "detail": "No."}, BackendErrorFields(None, "No.")),
        ({"error": ["No."]}, BackendErrorFields()),
        ({"error": 5}, BackendErrorFields()),
        ({"error": True, "message": "No."}, BackendErrorFields(None, "No.")),
        ({"detail": "No.", "code": "used_up", "trace_id": "t"}, BackendErrorFields("used_up", "No.")),
        ({"detail": [{"msg": "No."}]}, BackendErrorFields()),
        ({"code": "used_up", "error": "No."}, BackendErrorFields("used_up", "No.")),
        ({"message": "No."}, BackendErrorFields(None, "No.")),
        ({}, BackendErrorFields()),
        ([], BackendErrorFields()),
        ([{"error": "No."}], BackendErrorFields()),
        (None, BackendErrorFields()),
        (5, BackendErrorFields()),
        ("<html>No.</html>", BackendErrorFields(None, "<html>No.</html>")),
        ("", BackendErrorFields(None, "")),
    ],
)
def test_every_form_of_an_error_body_is_read(body: Any, expected: BackendErrorFields) -> None:
    assert error_fields_in(body) == expected


@pytest.mark.parametrize(("status", "code", "message", "kind"), DOCUMENTED)
def test_only_messages_about_the_request_are_quoted(
    status: int, code: str, message: str, kind: type[LumaError]
) -> None:
    sentence = str(error_for(BackendErrorFields(code, message), status))
    if kind in (InvalidRequest, Refused):
        assert sentence == f"{ACEDATACLOUD.say(kind.template)} AceDataCloud says: “{message}”"
    else:
        assert sentence == ACEDATACLOUD.say(kind.template)


@pytest.mark.parametrize(
    ("message", "quote"),
    [
        (None, ""),
        ("", ""),
        ("prompt is required", "prompt is required"),
        ("one\ntwo\r\n\tthree\x0bfour\x1ffive\x00six", "one two three four five six"),
        ("see https://evil.example.com/x?y=z now", "see now"),
        ("see [here](https://evil.example.com) or javascript://x", "see or"),
        ("see www.evil.example.com, WWW.evil.example.com or mailto:a@b.c", "see or"),
        ("update: rated javascript", "update: rated javascript"),
        ("see <a href='https://evil.example.com'>here</a>", "see here"),
        ("<html><head><title>400 Bad Request</title></head></html>", "400 Bad Request"),
        ("[x](data:image/png;base64,AAAA) **bold** `code` # head", "bold code head"),
        ('he said “stop” and "go" {now} [now] | $now', "he said stop and go now now now"),
        ("it\u2019s too long \u2014 wait\u2026", "it's too long - wait..."),
        ("a < b and c > d", "a b and c d"),
        ("a\u202eb\u200bc\u2066d\U000e0041e\ufefff", ""),
        ("prêt à 100 % — 準備", ""),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
        ("word " * 100, ("word " * 40)[:199] + "…"),
    ],
)
def test_a_quote_is_one_harmless_line(message: str | None, quote: str) -> None:
    assert quotable(message) == quote
    assert len(quotable(message)) <= MAX_QUOTE_LENGTH


@pytest.mark.parametrize(
    ("message", "private"),
    [
        ("Bad prompt: my <b>secret</b> plan!", ("my <b>secret</b> plan",)),
        ("Token secret-token is wrong, secret-token!", ("secret-token",)),
        ("Neither https://a.example.com/secret nor that", ()),
        ("both secret-one and secret-two", ("secret-one", "", "secret-two")),
    ],
)
def test_a_quote_repeats_nothing_private(message: str, private: tuple[str, ...]) -> None:
    quote = quotable(message, private)
    assert "secret" not in quote


def test_only_the_start_of_a_long_message_is_compared() -> None:
    assert quotable("x" * 4_000_000) == "x" * 199 + "…"
    assert quotable("secret" * 10_000, ("secret" * 10_000,)) == ""


def test_an_empty_quote_is_left_out() -> None:
    assert str(error_for(BackendErrorFields("bad_request", "https://evil.example.com <>"), 400)) == ACEDATACLOUD.say(
        InvalidRequest.template
    )


def test_a_message_that_repeats_the_prompt_is_not_quoted() -> None:
    error = error_for(BackendErrorFields("bad_request", "Cannot draw: a fox"), 400, private_texts=("a fox",))
    assert str(error) == ACEDATACLOUD.say(InvalidRequest.template)


SECRET = 'The Duke\'s "plan" for 5 < 6'
FOREIGN = 'The Duke\'s "plan" für 5 < 6'


def echoes_of(secret: str) -> list[str]:
    """Return messages that repeat `secret`, each in another spelling."""
    return [
        f"Bad: {secret}!",
        f"Bad: {secret.upper()}!",
        f"Bad: {secret.replace(' ', chr(10) * 2)}!",
        f"Bad: {secret.replace(' ', '')}!",
        f"Bad: {quote(secret)}!",
        f"Bad: {quote_plus(secret)}!",
        f"Bad: {quote(quote(secret))}!",
        f"Bad: {json.dumps(secret)}!",
        f"Bad: {json.dumps(json.dumps(secret))}!",
        f"Bad: {html.escape(secret)}!",
        f"Bad: {''.join(f'&#{ord(letter)};' for letter in secret)}!",
        f"Bad: {''.join(f'%{byte:02x}' for byte in secret.encode())}!",
        "Bad: " + "".join(f"\\u{ord(letter):04X}" for letter in secret),
        "Bad: " + "".join(f"%u{ord(letter):04x}" for letter in secret),
        "Bad: " + "".join(f"\\x{ord(letter):02x}" for letter in secret),
        f"Bad: <i>{secret.replace(' ', '</i> <i>')}</i>",
        "x " * 495 + secret,
    ]


@pytest.mark.parametrize("message", echoes_of(SECRET))
def test_a_message_with_private_text_is_not_quoted_in_part(message: str) -> None:
    assert quotable(message, ("other", SECRET)) == ""
    assert quotable(message, ("other",)) != ""


@pytest.mark.parametrize("message", [*echoes_of(FOREIGN), *echoes_of("The Duke's plan fur 5"), "The Duke's plan f?r 5"])
def test_a_message_that_repeats_a_non_ascii_text_is_not_quoted(message: str) -> None:
    assert quotable(message, ("The Duke's plan für 5",)) == ""


LOOK_ALIKES = {
    "combining accents": "se\u0301cre\u0302t-to\u0301ken",
    "Cyrillic letters": "s\u0435cr\u0435t-t\u043ek\u0435n",
    "Greek letters": "secret-t\u03bfken",
    "an escaped Cyrillic letter": "s\\u0435cret-tok\\u0435n",
    "an entity for a Greek letter": "secret-t&omicron;ken",
    "a percent-encoded accent": "se%CC%81cret-token",
    "full width": "\uff53\uff45\uff43\uff52\uff45\uff54-token",
}


@pytest.mark.parametrize("part", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_a_token_in_look_alike_letters_is_not_quoted(part: str) -> None:
    assert quotable(f"Bad token: {part}", ("secret-token",)) == ""


@pytest.mark.parametrize(
    "prompt", ["\uff21 \uff46ox runs", "A f\u014dx runs", "\U0001d400 fox runs", "A \ufb01ne fox runs"]
)
def test_the_ascii_letters_of_a_non_ascii_prompt_are_not_quoted(prompt: str) -> None:
    plain = "A fine fox runs" if "\ufb01" in prompt else "A fox runs"
    assert quotable(f"Cannot draw: {plain}", (prompt,)) == ""


TOO_MUCH = {
    "characters that become 18 each": "\ufdfa" * 5000,
    "as many different characters": "".join(map(chr, range(0x4E00, 0x4E00 + 5000))),
    "escapes": "%41" * 1666,
    "entities": "&amp;" * 1000,
    "backslashes": "\\a" * 2500,
    "escapes of escapes": "&amp;" + "amp;" * 4,
    "text without end": "a fox " * 10_000,
}


@pytest.mark.parametrize("prompt", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_message_is_not_quoted_if_the_comparison_exceeds_its_limits(prompt: str) -> None:
    assert quotable("No such thing.", (prompt,)) == ""
    assert quotable("No such thing.", (prompt[:6],)) == "No such thing."


@pytest.mark.parametrize(
    "message", ["%2525252541", "&amp;amp;amp;amp;amp;", "".join(f"%25{n:x}" for n in range(400)) * 3]
)
def test_a_message_in_layers_of_escapes_is_not_quoted(message: str) -> None:
    assert quotable(f"Bad: {message}", ("secret",)) == ""


def test_the_longest_texts_that_callers_usually_send_are_compared() -> None:
    message = "Our Al moderators feel your prompt might be against our standards."
    prompt, url = "A fox walks in the snow. " * 200, "https://cdn.example.com/first-frame.png"
    assert quotable(message, (prompt, url, "sk-" + "0123456789abcdef" * 20)) == message


def test_a_passage_of_a_long_prompt_is_not_quoted() -> None:
    prompt = "A fox walks through the snow at dawn while the village sleeps. " * 20
    assert quotable("Cannot draw: " + prompt[30:90], (prompt,)) == ""
    assert quotable("Cannot draw a fox.", (prompt,)) == "Cannot draw a fox."


@pytest.mark.parametrize("message", ["Token sk-4f9a1b2c…", "Token …8d7e6f5a", "Token f9a1 b2c8 d7e6"])
def test_a_part_of_a_token_is_not_quoted(message: str) -> None:
    assert quotable(message, ("sk-4f9a1b2c8d7e6f5a",)) == ""
    assert quotable(message, ("base64/sk-4f9a1b2c8d7e6f5a/==",)) == ""
    assert quotable(message, ("sk-0000000000000000",)) != ""


def test_a_quote_has_no_invisible_characters() -> None:
    assert quotable("No\u3164pe\uffa0, not\u115f this") == ""
    assert quotable("No\x00pe, not\x7f this") == "No pe, not this"


@pytest.mark.parametrize("filler", ["\u3164", "\uffa0", "\u200b", "\ufe0f", "\U000e0041", "&#12644;", "\\u3164"])
def test_invisible_characters_do_not_hide_private_text(filler: str) -> None:
    assert quotable(f"Bad: se{filler}cret {filler}plan", ("secret plan",)) == ""


@pytest.mark.parametrize(
    ("complaint", "status", "kind"),
    [
        (BackendErrorFields("used_up"), 403, NoCredit),
        (BackendErrorFields(), 402, NoCredit),
        (BackendErrorFields("rate_limited"), 429, RateLimited),
        (BackendErrorFields("forbidden"), 403, Refused),
    ],
)
def test_a_refused_read_does_not_have_the_message_of_a_submission(
    complaint: BackendErrorFields, status: int, kind: type[LumaError]
) -> None:
    error = error_for(complaint, status, is_read=True)
    assert type(error) is kind
    for word in ("generat", "charged", "prompt", "5 "):
        assert word not in str(error)


@pytest.mark.parametrize("private", [("a",), ("t", "a"), ("AI",), ("mod",), ("", "our")])
def test_a_very_short_prompt_or_token_does_not_suppress_a_quote(private: tuple[str, ...]) -> None:
    message = "Our AI moderators feel your prompt might be against our standards."
    assert quotable(message, private) == message


def test_only_a_documented_code_reaches_the_log() -> None:
    assert code_for_log(BackendErrorFields("used_up")) == "used_up"
    assert code_for_log(BackendErrorFields("a fox in the snow")) == "unknown"
    assert code_for_log(BackendErrorFields(None, "a fox in the snow")) == "none"


REFUSING_CODES = frozenset(code for _, code, _, _ in DOCUMENTED) - {"timeout", "no_api", "api_error", "busy"}
LIMITS = frozenset({"too_many_requests", "rate_limited"})
STATUSES = (200, 201, 202, 204, 206, *range(300, 309), *range(400, 432), 451, 499, *range(500, 512), 599)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    "code", [*sorted({code for _, code, _, _ in DOCUMENTED}), None, "something_new", "BAD_REQUEST", "unknown"]
)
def test_only_a_documented_refusal_means_that_nothing_was_started(status: int, code: str | None) -> None:
    believed = (429,) if code in LIMITS else (200, 400, 401, 402, 403, 413, 422, 429)
    body = {"success": False, "error": {"code": code, "message": "No."}}
    assert started_nothing(error_fields_in(body), status, body) is (code in REFUSING_CODES and status in believed)
    for naming in NAMING:
        assert not started_nothing(error_fields_in(body), status, body | naming)


@pytest.mark.parametrize(("length", "expected"), [(MAX_PROMPT_LENGTH, True), (1_000_000, False)])
def test_a_refusal_may_repeat_a_prompt_and_not_more(length: int, expected: bool) -> None:
    for body in (
        {"success": False, "error": {"code": "bad_request", "message": f"Bad prompt: {'a' * length}"}},
        {"success": False, "code": "bad_request", "detail": f"Bad prompt: {'aaaaaaaa-' * (length // 9)}"},
    ):
        assert started_nothing(error_fields_in(body), 400, body) is expected


NAMING: list[dict[str, Any]] = [
    {"task_id": "task-0"},
    {"id": "task-0"},
    {"response": {"task_id": "task-0"}},
    {"data": {"id": "t"}},
    {"task_ids": ["task-0"]},
    {"taskId": "task-0"},
    {"state": "processing"},
    {"started_at": None},
    {"success": True},
    {"detail": "duplicate of 12a18694-1f0c-4c5e-9a51-6a1d7c0f1b2a, which is running"},
    {"tasks": [{"task_id": "task-0"}]},
    {"items": [{"response": {"video_url": "https://cdn.example.com/a.mp4"}}]},
    {"video_id": "video-0", "video_url": "https://cdn.example.com/a.mp4"},
    {"result": {"data": [[{"id": "task-0"}]]}},
    {"deep": [[[[[[{"id": "task-0"}]]]]]]},
]


@pytest.mark.parametrize("digits", [4_301, 100_000])
@pytest.mark.parametrize("place", ["message", "private"])
def test_quotable_raises_nothing_for_any_text(digits: int, place: str) -> None:
    """html.unescape parses the number of a character reference, and Python refuses more than 4,300 digits."""
    reference = f"&#{'1' * digits};"
    message = f"Not this {reference}" if place == "message" else "Not this."
    error = error_for(BackendErrorFields("forbidden", message), 403, private_texts=(f"a fox {reference}", "token-a"))
    assert str(error) == ACEDATACLOUD.say(Refused.template)
    assert repeats("Not this.", [f"&#{'1' * digits};"])


PIECES = (
    "&#",
    "&#x",
    "%",
    "%u",
    "\\",
    "\\u",
    "\\x",
    "1" * 4_400,
    "f" * 9,
    "d800",
    ";",
    "<",
    ">",
    "\ud800",
    "\x00",
    "é",
    "🦊",
    "://",
)


def test_quotable_raises_nothing_for_any_mixture_of_escapes() -> None:
    chooser = random.Random(5)
    for _ in range(2_000):
        message, prompt = ("".join(chooser.choices(PIECES, k=6)) for _ in range(2))
        assert repeats(f"No: {message}", [prompt]) in {True, False}


@pytest.mark.parametrize("length", range(900, 2_100, 20))
@pytest.mark.parametrize(
    "secret", ["sk-live-9f8e7d6c5b4a", "a_naked_zebra_in_Trafalgar_Square", "a.naked.zebra.in.Trafalgar.Square"]
)
def test_a_link_at_the_cut_is_removed_from_the_quote_and_the_comparison(length: int, secret: str) -> None:
    message = f"www.{'a' * length} {secret}-{'z' * 60}://x and so on"
    private = ("a naked zebra in Trafalgar Square", "sk-live-9f8e7d6c5b4a")
    quote = quotable(message, private)
    assert "sk-" not in quote
    assert "naked" not in quote
    assert "zebra" not in quote
