"""Tests of the HTTP service: its masks, its limits, and the messages of refused requests."""

import asyncio
import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection

import numpy as np
import pytest
import torch
from PIL import Image
from serving.conftest import small_predictor

from lesion_segmentation.core.errors import InputError
from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.model import save_network
from lesion_segmentation.prediction import Predictor
from lesion_segmentation.serving import ServiceSettings
from lesion_segmentation.serving import server as server_module
from lesion_segmentation.serving.limits import Refusal, read_body
from lesion_segmentation.serving.responses import prefers_png

IMAGE = synthetic.synthesize_case(5).image


def encode(image: np.ndarray = IMAGE, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def post(port, body, content_type="image/png", path="/predict", **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    with suppress(BrokenPipeError):  # the server may refuse a large body before it has read all of it
        connection.request("POST", path, body, {"Content-Type": content_type, **given})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if "json" in answer.headers["content-type"] else content


def get(port, path, method="GET", **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def form(content: bytes, name: str = "file") -> tuple[bytes, str]:
    head = f'--xyz\r\nContent-Disposition: form-data; name="{name}"; filename="miller.png"\r\n\r\n'.encode()
    return head + content + b"\r\n--xyz--\r\n", "multipart/form-data; boundary=xyz"


def test_mask_equals_predictor_for_each_request_format(serve):
    port, (expected,) = serve(), small_predictor()([IMAGE])
    for body, content_type in ((encode(), "image/png"), (encode(kind="BMP"), "image/bmp"), form(encode())):
        status, answer = post(port, body, content_type, path="/predict?probability=true")
        assert status == 200
        mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["mask"]))))
        assert np.array_equal(mask == 255, expected.mask)
        assert answer["lesion_area"] == expected.mask.sum()
        grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["probability"]))))
        assert np.abs(grey / 255 - expected.probability).max() < 0.003
        for line in answer["contour"]:
            assert line[0] == line[-1]
    status, content = post(port, encode(), Accept="image/png")
    assert status == 200
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))) == 255, expected.mask)


def test_image_for_which_the_network_computes_nan_fails_alone(serve):
    class NanForWhite(torch.nn.Module):
        def forward(self, x):
            return torch.where(x.amin((1, 2, 3), keepdim=True) > 200, torch.nan, x[:, :1])

    port = serve(Predictor.from_module(NanForWhite(), (64, 96), (0.0,) * 3, (1.0,) * 3))
    white, found = encode(np.full((40, 50, 3), 255, np.uint8)), []
    bodies = [white, encode(), white, encode()]
    threads = [threading.Thread(target=lambda each=each: found.append((each, post(port, each)))) for each in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for body, (status, answer) in found:
        assert status == (500 if body == white else 200)
        assert ("values that are not finite" in answer.get("detail", "")) == (body == white)


def test_concurrent_clients_get_their_own_masks(serve):
    port, images = serve(), [synthetic.synthesize_case(number).image for number in range(1, 13)]
    found = {}

    def request_mask(number):
        found[number] = post(port, encode(images[number]), Accept="image/png")[1]

    threads = [threading.Thread(target=request_mask, args=[number]) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, expected in enumerate(small_predictor()(images)):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(found[number]))) == 255, expected.mask)


def bad_requests():
    whole = encode()
    large = encode(np.zeros((2000, 2000, 3), dtype=np.uint8))
    clear = io.BytesIO()
    Image.new("RGBA", (9, 9)).save(clear, "PNG")
    return {
        "no image": (b"hello", "image/png", 415, "not a readable image"),
        "another type": (b"{}", "application/json", 415, "content type is application/json"),
        "truncated": (whole[: len(whole) // 2], "image/png", 422, "damaged"),
        "transparent": (clear.getvalue(), "image/png", 422, "transparent"),
        "too many pixels": (large, "image/png", 413, "2000 x 2000 pixels, expected at most 3,000,000"),
        "too many bytes": (b"x" * 2_000_001, "image/png", 413, "larger than 2,000,000 bytes"),
        "form without a file": (b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--xyz--\r\n',
                                "multipart/form-data; boundary=xyz", 422, "no complete file"),
        "form with an empty file": (*form(b""), 422, "no complete file"),
        "form without a boundary": (b"x", "multipart/form-data", 422, "cannot be parsed"),
        "empty": (b"", "image/png", 422, "The body is empty"),
    }  # fmt: skip


@pytest.mark.parametrize("name", bad_requests())
def test_bad_request_is_refused_with_a_sentence(serve, name, capfd):
    body, content_type, status, words = bad_requests()[name]
    port = serve(max_bytes=2_000_000, max_pixels=3_000_000)
    found, answer = post(port, body, content_type)
    assert (found, words in answer["detail"]) == (status, True), answer
    assert "Traceback" not in json.dumps(answer)
    assert post(port, encode())[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_answer_names_the_colour_profile(serve):
    from PIL import ImageCms

    port, srgb = serve(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    notes = [post(port, encode(**each))[1]["color_profile"] for each in ({}, {"icc_profile": srgb})]
    assert notes == [None, "sRGB"]


def test_endless_and_slow_bodies_are_refused(serve):
    port = serve(max_bytes=100_000, seconds=1)
    head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as endless:
        endless.sendall(head.encode())
        try:
            for _ in range(200):
                endless.sendall(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        except OSError:  # the server has closed the connection
            pass
        assert b" 413 " in endless.recv(4096)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
        slow.sendall(head.replace("Transfer-Encoding: chunked", "Content-Length: 5000").encode() + b"x")
        assert b" 408 " in slow.recv(4096)
    assert post(port, encode(IMAGE[:50, :50]))[0] == 200


def test_limit_applies_to_the_whole_body():
    class Request:
        headers: dict[str, str] = {}

        async def stream(self):
            for _ in range(5):
                yield b"12345"

    with pytest.raises(Refusal) as caught:
        asyncio.run(read_body(Request(), 10, 30))
    assert caught.value.status_code == 413


def test_silent_connection_is_closed(serve, monkeypatch):
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 0.3)
    port = serve()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
        assert silent.recv(10) == b""


class BlockedPredictor:
    """A predictor that waits until it is released. `seen` lists the size of each batch."""

    def __init__(self) -> None:
        self._predictor, self.released, self.seen = small_predictor(), threading.Event(), []
        self.metadata, self.batch_size, self.threshold = self._predictor.metadata, 1, self._predictor.threshold
        self.test_time_augmentation = self._predictor.test_time_augmentation
        self.keep_largest_component, self.knots = self._predictor.keep_largest_component, self._predictor.knots

    def predict_each(self, images):
        self.seen.append(len(images))
        self.released.wait(30)
        return self._predictor.predict_each(images)


def wait_for_waiting(port: int, count: int) -> None:
    """Wait until the service holds this number of images."""
    for _ in range(600):
        if f"lesion_waiting {count}.0" in get(port, "/metrics")[1]:
            return
        time.sleep(0.05)
    raise AssertionError(f"the service never held {count} images")


def test_full_queue_is_refused_and_disconnected_client_is_dropped(serve):
    blocked = BlockedPredictor()
    port = serve(blocked, max_waiting=2, seconds=20)
    found = []
    threads = [threading.Thread(target=lambda: found.append(post(port, encode())[0])) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for_waiting(port, 2)
    assert post(port, encode())[0] == 429
    blocked.released.set()
    for thread in threads:
        thread.join()
    assert found == [200, 200]
    blocked.released.clear()
    first = threading.Thread(target=lambda: post(port, encode()))
    first.start()
    wait_for_waiting(port, 1)
    leaving = socket.create_connection(("127.0.0.1", port))
    body = encode()
    leaving.sendall(
        f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    wait_for_waiting(port, 2)
    leaving.close()
    wait_for_waiting(port, 1)
    blocked.released.set()
    first.join()
    assert post(port, encode())[0] == 200  # queued behind the dropped image
    assert blocked.seen == [1, 1, 1, 1]


def test_busy_port_is_reported_in_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(InputError, match=rf"cannot listen on 127.0.0.1, port {port} \(Address already in use\)"):
            server_module.require_free_port("127.0.0.1", port)


def test_aborted_upload_is_no_failure_of_the_server(serve):
    port = serve(BlockedPredictor())
    with socket.create_connection(("127.0.0.1", port)) as leaving:
        leaving.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\nabc")
    for _ in range(200):
        if 'status="499"' in (metrics := get(port, "/metrics")[1]):
            break
        time.sleep(0.05)
    assert 'lesion_answers_total{status="499"} 1.0' in metrics
    assert 'status="500"' not in metrics


def test_file_of_a_form_is_found_beside_a_text_of_the_same_name(serve):
    port = serve()
    body, content_type = form(encode())
    text = b'--xyz\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n'
    assert post(port, text + body, content_type)[0] == 200
    assert post(port, body.replace(b"--xyz--", text + b"--xyz--"), content_type)[0] == 200


def test_large_images_are_refused_while_small_ones_are_admitted(serve):
    blocked, large = BlockedPredictor(), encode()  # 120,000 pixels
    port = serve(blocked, max_pixels=130_000)
    found = []
    threads = [threading.Thread(target=lambda body=body: found.append(post(port, body)[0]))
               for body in (large, large, encode(IMAGE[:50, :50]))]  # fmt: skip
    for count, thread in enumerate(threads, 1):
        thread.start()
        wait_for_waiting(port, count)
    assert post(port, large)[0] == 429
    blocked.released.set()
    for thread in threads:
        thread.join()
    assert found == [200, 200, 200]
    assert post(port, large)[0] == 200


def test_slow_prediction_is_abandoned(serve):
    blocked = BlockedPredictor()
    port = serve(blocked, seconds=0.4)
    assert post(port, encode())[0] == 503
    blocked.released.set()


def test_configured_token_is_required(serve):
    port = serve(token="open sesame")
    assert post(port, encode())[0] == 401
    for wrong in ("Bearer wrong", "Bearer open sesame seed", "Bearer ", "open sesame", "Basic open sesame"):
        assert post(port, encode(), Authorization=wrong)[0] == 401
    for right in ("Bearer open sesame", "bearer open sesame", "BEARER  open sesame"):
        assert post(port, encode(), Authorization=right)[0] == 200
    assert get(port, "/predict", "POST")[2]["www-authenticate"] == "Bearer"
    assert get(port, "/health")[0] == 200
    assert json.loads(get(port, "/version")[1])["needs_token"] is True


def test_metrics_contain_counts_and_no_file_names(serve, capfd):
    port = serve()
    post(port, *form(encode()))
    post(port, b"no", "image/png")
    figures = get(port, "/metrics")[1]
    assert 'lesion_answers_total{status="200"} 1.0' in figures
    assert 'lesion_answers_total{status="415"} 1.0' in figures
    assert "lesion_seconds_count 1.0" in figures
    assert "miller" not in figures + capfd.readouterr().err
    status, page, _ = get(port, "/docs")
    assert status == 200
    assert "https://" not in page.replace("https://swagger.io", "")
    assert get(port, "/swagger/swagger-ui-bundle.js")[0] == 200
    assert "/predict" in json.loads(get(port, "/openapi.json")[1])["paths"]
    assert get(port, "/static/../app.py")[0] == 404
    assert get(port, "/")[2]["content-security-policy"].startswith("default-src 'self'")


def test_sigterm_finishes_running_requests(tmp_path):
    weights = tmp_path / "network.safetensors"
    from lesion_segmentation.model import NetworkMetadata, build_network

    save_network(build_network(NetworkMetadata("segnet", {"width": 0.0625}, (64, 96))), weights)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from lesion_segmentation.cli import main; main()", "serve", "--weights"]
    process = subprocess.Popen([*command, str(weights), "--port", str(port)], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            assert get(port, "/health")[0] == 200
            break
        except OSError:
            time.sleep(0.1)
    found, several = [], threading.Event()

    def send_requests():
        while True:
            try:
                found.append(post(port, encode())[0])
            except OSError:  # the server has stopped
                return
            if len(found) > 4:
                several.set()

    threads = [threading.Thread(target=send_requests, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert several.wait(60)
        os.kill(process.pid, signal.SIGTERM)
        errors = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    for thread in threads:
        thread.join()
    assert set(found) <= {200, 503}
    assert found.count(200) > 0
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in errors


def test_service_and_predict_accept_the_same_formats(serve, tmp_path):
    """Both read the first of two frames in an MPO file and refuse formats for which Pillow starts other programs."""
    from lesion_segmentation.prediction.input_images import read_input_image

    port = serve()
    frames = [Image.fromarray(synthetic.synthesize_case(number).image).resize((80, 60)) for number in (1, 2)]
    frames[0].save(tmp_path / "two.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert read_input_image(tmp_path / "two.jpg").pixels.shape == (60, 80, 3)
    assert post(port, (tmp_path / "two.jpg").read_bytes(), "image/jpeg")[0] == 200
    frames[0].save(tmp_path / "script.eps")
    with pytest.raises(ValueError, match="not a readable image"):
        read_input_image(tmp_path / "script.eps")
    assert post(port, (tmp_path / "script.eps").read_bytes(), "image/png")[0] == 415


def test_image_is_released_after_the_response(serve):
    import gc
    import weakref

    from lesion_segmentation.serving import responses

    seen = []
    port = serve()
    original = responses.read_rgb

    def read_and_record(*arguments):
        image = original(*arguments)
        seen.append(weakref.ref(image.pixels))
        return image

    responses.read_rgb = read_and_record
    try:
        assert post(port, encode())[0] == 200
    finally:
        responses.read_rgb = original
    for _ in range(20):
        gc.collect()
        if seen[0]() is None:
            break
        time.sleep(0.1)
    assert seen[0]() is None


def test_slow_headers_of_a_second_request_are_closed(serve, monkeypatch):
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 0.3)
    port = serve()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in slow.recv(4096)
        slow.sendall(b"GET /he")
        while slow.recv(4096):
            pass


@pytest.mark.parametrize(("options", "variable", "words"), [
    (["--token", ""], None, "token is empty"),
    ([], "", "token is empty"),
    (["--token", "pass\u00e9"], None, "characters that a header cannot carry"),
    (["--token", "x"], "", "x.safetensors"),  # the variable is not used, so the missing weights are reported
])  # fmt: skip
def test_invalid_token_is_reported_before_the_weights(options, variable, words, monkeypatch):
    from click.testing import CliRunner

    from lesion_segmentation.cli import main

    monkeypatch.delenv("LESION_TOKEN", raising=False)
    environment = {} if variable is None else {"LESION_TOKEN": variable}
    result = CliRunner().invoke(main, ["serve", "--weights", "x.safetensors", *options], env=environment)
    assert result.exit_code == 1
    assert words in result.output
    assert "pass\u00e9" not in result.output


def test_head_answers_like_get_without_a_body(serve):
    port = serve()
    for path in ("/", "/docs", "/health", "/version", "/metrics", "/openapi.json", "/static/app.js"):
        status, body, headers = get(port, path, "HEAD")
        assert (status, body) == (200, "")
        assert int(headers["content-length"]) > 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:  # http.client would ignore a body
        connection.sendall(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"".join(iter(lambda: connection.recv(4096), b"")).endswith(b"\r\n\r\n")
    assert get(port, "/predict", "HEAD")[0] == 405


def test_paths_work_with_and_without_the_prefix_of_a_proxy(serve):
    port = serve(root_path="/lesions")
    for path in ("/health", "/static/app.js", "/swagger/swagger-ui.css", "/docs", "/openapi.json"):
        assert get(port, path)[0] == get(port, f"/lesions{path}")[0] == 200
    assert post(port, encode(), path="/lesions/predict")[0] == post(port, encode())[0] == 200
    assert 'lesion_answers_total{status="200"} 2.0' in get(port, "/metrics")[1]
    assert get(port, "/lesions/lesions/health")[0] == get(port, "/lesionshealth")[0] == 404
    status, _, headers = get(port, "/lesions", Host="lab.example")
    assert (status, headers["location"]) == (307, "http://lab.example/lesions/")
    for page in ("/", "/docs"):
        assert not re.search(r"""(src|href|url)(=|: )["']/""", get(port, page)[1])


@pytest.mark.parametrize(("accept", "expected"), [
    ("", False), ("*/*", False), ("application/json, image/png", False), ("image/png;q=0.5, application/json", False),
    ("image/png;q=0", False), ("text/html", False), ("application/json, text/plain, */*", False),
    ("image/png", True), ("image/png, */*;q=0.1", True), ("application/json;q=0.5, IMAGE/PNG", True),
    ("image/png, */*", True), ("image/png;q=0.1, */*", False),
    ("image/png;level=1;q=0.2, application/json;q=0.5", False),
    ("image/pngx", False), ('text/plain;x="image/png"', False), ("image/png ; q=0.9 , application/json ; q=0.8", True),
])  # fmt: skip
def test_weights_of_accept_choose_between_png_and_json(accept, expected):
    assert prefers_png(accept) is expected


def test_foreign_hosts_are_refused_by_default_on_loopback_without_a_token(monkeypatch):
    started = []
    monkeypatch.setattr(server_module, "create_app", lambda _, settings: started.append(settings.allowed_hosts))
    monkeypatch.setattr(server_module.uvicorn, "run", lambda *_, **__: None)
    for host, settings in (("127.0.0.1", {}), ("localhost", {}), ("::1", {}), ("0.0.0.0", {}), ("::", {}),
                           ("127.0.0.1", {"token": "x"}), ("127.0.0.1", {"allowed_hosts": ("lab",)})):  # fmt: skip
        server_module.serve(None, ServiceSettings(**settings), host, 8000)
    assert started == [("127.0.0.1",), ("localhost",), ("::1",), None, None, None, ("lab",)]


def test_only_allowed_hosts_are_answered(serve):
    port = serve(allowed_hosts=("lab.example", "*.clinic.example"))
    right = ("localhost", "127.0.0.1:80", "[::1]:80", "LAB.example:8443", "a.clinic.example")
    wrong = ("evil.example", "lab.example.evil.example", "localhost@evil.example", "clinic.example", "")
    for host in right:
        assert get(port, "/version", Host=host)[0] == 200
    for host in wrong:
        status, _, headers = get(port, "/version", Host=host)
        assert (status, headers["x-content-type-options"]) == (400, "nosniff")
