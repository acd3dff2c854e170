"""Who gets in, and what no request can do."""

from __future__ import annotations

import pytest

from grctl.errors import ConfigurationError
from grctl.settings import load_settings
from grctl.web.access import access_of
from tests.web.conftest import HOST

TOKEN = "a-token-of-this-test"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "dashboard.example.org"])
def test_no_other_bind_than_loopback_is_open_to_all(host):
    with pytest.raises(ConfigurationError, match="TOKEN_FILE"):
        access_of(load_settings(dashboard_host=host))
    access_of(load_settings(dashboard_host=host, dashboard_token=TOKEN))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"dashboard_proxy_header": "x-user"}, "PROXY_PEERS"),
        ({"dashboard_proxy_header": "x-user", "dashboard_proxy_peers": "no address"}, "no address"),
        ({"dashboard_proxy_header": "x-user", "dashboard_proxy_peers": "0.0.0.0/0"}, "must not"),
        ({"dashboard_token": TOKEN, "dashboard_proxy_header": "x-user"}, "token and a proxy"),
        ({"dashboard_token_file": "/no/such/file"}, "cannot read"),
    ],
)
def test_settings_that_would_let_in_anybody_stop_the_start(more, why):
    with pytest.raises(ConfigurationError, match=why):
        access_of(load_settings(**more))


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.1", "u@localhost"]
)
async def test_a_name_that_is_not_ours_gets_nothing(visit, host):
    answer = await visit().get("/", headers={"host": host})
    assert answer.status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8233", "[::1]:8233"])
async def test_names_of_loopback_are_ours(visit, host):
    assert (await visit().get("/", headers={"host": host})).status_code == 200


async def test_every_answer_forbids_scripts_from_elsewhere_and_frames(visit):
    for path in ("/", "/runs", "/static/app.js", "/nothing", "/healthz"):
        headers = (await visit().get(path)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


async def test_a_form_needs_our_origin_and_its_token(visit, worker, database):
    browser = visit()
    page = (await browser.get("/start")).text
    fields = {"type": "shop.courier", "id": "c", "input": '{"order": "1"}'}
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    good = {"origin": HOST}
    for headers, more, code in (
        ({}, {"csrf": csrf}, 403),
        ({"origin": "null"}, {"csrf": csrf}, 403),
        ({"origin": "http://localhost:1"}, {"csrf": csrf}, 403),
        ({"origin": "http://evil.example"}, {"csrf": csrf}, 403),
        ({"origin": "http://["}, {"csrf": csrf}, 403),
        ({"sec-fetch-site": "cross-site"}, {"csrf": csrf}, 403),
        (good, {}, 403),
        (good, {"csrf": "0" * 64}, 403),
    ):
        answer = await browser.post("/start", data={**fields, **more}, headers=headers)
        assert answer.status_code == code, (headers, more)
    assert await database.fetchval("select count(*) from grctl.runs") == 0
    answer = await browser.post("/start", data={**fields, "csrf": csrf}, headers=good)
    assert answer.status_code == 303
    assert await database.fetchval("select count(*) from grctl.runs") == 1


async def test_the_token_of_one_visitor_is_no_other_ones(visit):
    one, other = visit(), visit()
    csrf = (await one.get("/start")).text.split('name="csrf" value="')[1].split('"')[0]
    await other.get("/start")
    answer = await other.post("/start", data={"csrf": csrf}, headers={"origin": HOST})
    assert answer.status_code == 403


async def test_with_a_token_nobody_sees_anything_before_they_sign_in(visit):
    browser = visit(dashboard_host="0.0.0.0", dashboard_token=TOKEN)
    answer = await browser.get("/runs?type=a%2Fb")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fruns%3Ftype%3Da%252Fb"
    assert (await browser.get("/runs", headers={"x-live": "1"})).status_code == 401
    assert (await browser.get("/healthz")).json() == {"status": "ok"}
    wrong = await browser.submit("/login", token="wrong", next="/")
    assert wrong.status_code == 403
    assert (await browser.get("/")).status_code == 303
    right = await browser.submit("/login", at="/login?next=/runs", token=TOKEN, next="/runs")
    assert right.headers["location"] == "/runs"
    assert "HttpOnly" in right.headers["set-cookie"]
    assert "SameSite=strict" in right.headers["set-cookie"]
    assert (await browser.get("/runs")).status_code == 200


async def test_a_session_that_was_signed_out_is_good_for_nothing(visit):
    browser = visit(dashboard_token=TOKEN)
    await browser.submit("/login", token=TOKEN, next="/")
    kept = dict(browser.cookies)
    csrf = (await browser.get("/")).text.split('name="csrf" value="')[1].split('"')[0]
    await browser.post("/logout", data={"csrf": csrf}, headers={"origin": HOST})
    browser.cookies.clear()
    for name, value in kept.items():
        browser.cookies.set(name, value, domain="localhost.local")
    cookie = "; ".join(f"{name}={value}" for name, value in kept.items())
    assert (await browser.get("/", headers={"cookie": cookie})).status_code == 303


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "//["]
)
async def test_signing_in_leads_nowhere_else(visit, target):
    browser = visit(dashboard_token=TOKEN)
    answer = await browser.submit("/login", token=TOKEN, next=target)
    assert answer.headers["location"] == "/"


async def test_a_proxys_header_counts_only_from_the_proxy(visit):
    proxy = {"dashboard_proxy_header": "X-User", "dashboard_proxy_peers": "10.9.0.0/16"}
    named = {"x-user": "ada"}
    assert (await visit("10.8.0.1", **proxy).get("/", headers=named)).status_code == 403
    assert (await visit("10.9.0.1", **proxy).get("/")).status_code == 401
    answer = await visit("10.9.0.1", **proxy).get("/", headers=named)
    assert answer.status_code == 200
    assert "<span>ada</span>" in answer.text


async def test_what_caches_may_keep_has_nobodys_session_in_it(visit):
    browser = visit(dashboard_token=TOKEN)
    kept = await browser.get("/static/app.js")
    assert kept.headers["cache-control"].startswith("public")
    assert "set-cookie" not in kept.headers
    page = await browser.get("/login")
    assert page.headers["cache-control"] == "no-store"
    assert "set-cookie" in page.headers


async def test_other_methods_are_not_there(visit):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert (await visit().request(method, "/runs")).status_code == 405
