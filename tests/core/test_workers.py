"""Tests of the helpers that run tasks on workers."""

import os
import threading

from lesion_segmentation.core.workers import redirect_output


def test_output_of_two_threads_of_a_worker_goes_to_two_files_and_is_restored(tmp_path, capfd):
    first_started, second_started, first_ended = threading.Event(), threading.Event(), threading.Event()

    def run(name: str, started: threading.Event, awaited: threading.Event) -> None:
        with redirect_output(tmp_path / name):
            started.set()
            awaited.wait(0.5)
            os.write(1, f"line of {name}".encode())

    first = threading.Thread(target=run, args=("a", first_started, second_started))
    second = threading.Thread(target=run, args=("b", second_started, first_ended))
    first.start()
    assert first_started.wait(10)
    second.start()
    first.join()
    first_ended.set()
    second.join()
    os.write(1, b"after both")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a": "line of a", "b": "line of b"}
    assert capfd.readouterr().out == "after both"
