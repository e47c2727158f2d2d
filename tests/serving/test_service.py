"""Tests of the HTTP service: its masks, its limits, and the messages of refused requests."""

import asyncio
import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection

import numpy as np
import pytest
from PIL import Image
from serving.conftest import small_predictor

from lesion_segmentation.data.sources import synthetic
from lesion_segmentation.model import save_network
from lesion_segmentation.serving import server as server_module
from lesion_segmentation.serving.limits import Refusal, read_body

IMAGE = synthetic.synthesize_case(5).image


def encode(image: np.ndarray = IMAGE, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def post(port, body, content_type="image/png", path="/predict", **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", path, body, {"Content-Type": content_type, **given})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if "json" in answer.headers["content-type"] else content


def get(port, path):
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
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
        "too many pixels": (large, "image/png", 413, "2000 x 2000"),
        "too many bytes": (b"x" * 2_000_001, "image/png", 413, "larger than"),
        "form without a file": (b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--xyz--\r\n',
                                "multipart/form-data; boundary=xyz", 422, "no file"),
        "form without a boundary": (b"x", "multipart/form-data", 422, "cannot be parsed"),
        "empty": (b"", "image/png", 415, "not a readable image"),
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
        self.keep_largest_component = self._predictor.keep_largest_component

    def __call__(self, images):
        self.seen.append(len(images))
        self.released.wait(30)
        return self._predictor(images)


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


def test_slow_prediction_is_abandoned(serve):
    blocked = BlockedPredictor()
    port = serve(blocked, seconds=0.4)
    assert post(port, encode())[0] == 503
    blocked.released.set()


def test_configured_token_is_required(serve):
    port = serve(token="open sesame")
    assert post(port, encode())[0] == 401
    for wrong in ("Bearer wrong", "Bearer open", "Bearer open sesame seed", "Bearer "):
        assert post(port, encode(), Authorization=wrong)[0] == 401
    assert post(port, encode(), Authorization="Bearer open sesame")[0] == 200
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
    assert read_input_image(tmp_path / "two.jpg").shape == (60, 80, 3)
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
        seen.append(weakref.ref(image))
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


def test_empty_token_is_refused():
    from click.testing import CliRunner

    from lesion_segmentation.cli import main

    result = CliRunner().invoke(main, ["serve", "--weights", "x.safetensors", "--token", ""])
    assert result.exit_code == 1
    assert "token is empty" in result.output
