"""LiteRT's `benchmark_model`: how it is asked, and how what it prints and writes is read."""

from __future__ import annotations

import pytest

from litemill.benchmark.benchmark_model import answer_flags, delegated, flags, read_line, read_result, timing_flags


def test_the_real_line_and_a_result_file_are_read() -> None:
    line = (
        "Inference timings in us: Init: 5685, First inference: 18535, Warmup (avg): 14462.3, Inference (avg): 14575.2"
    )
    found = read_line(f"STARTING!\n{line}\n")
    assert found and (found.init, found.first, found.mean, found.median) == (5.685, 18.535, 14.5752, None)
    # of a phone (tensorflow 2.18): the first count is the warm-up's
    counts = (
        "INFO: count=3 first=235158 curr=200386 min=199462 max=235158 avg=211669 std=16613 p5=199462 median=200386 "
        "p95=235158\n\nINFO: count=25 first=187533 curr=140990 min=140071 max=195121 avg=145528 std=13583 p5=140545 "
        "median=141253 p95=187533\n\n"
    )
    newer = read_line(f"{counts}INFO: {line}\n")
    assert newer and (newer.runs, newer.median) == (25, 141.253)
    assert read_line("nothing") is None
    for broken in (b"", b"\x12\x05\x0d", b"\xff" * 20, b"\x12\x00"):
        assert read_result(broken) is None


@pytest.mark.parametrize(
    ("output", "share"),
    [
        ("Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.", "all"),
        ("… the model graph will be partially executed by the delegate w/ 2 delegate kernels.", "some"),
        ("Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.", "none"),
        ("Failed to apply the default TensorFlow Lite delegate", "none"),
    ],
)
def test_a_silent_fallback_is_read_from_what_it_prints(output: str, share: str) -> None:
    assert delegated(output) == share


def test_an_accelerator_is_asked_for_alone() -> None:
    assert flags("cpu", 2) == ["--use_xnnpack=true", "--num_threads=2"]
    for accelerator in ("gpu", "hexagon", "nnapi:dsp", "delegate:/data/x.so"):
        assert {"--use_xnnpack=false", "--require_full_delegation=true"} <= set(flags(accelerator, 1))
    assert "--nnapi_accelerator_name=dsp" in flags("nnapi:dsp", 1)


def test_each_input_is_given_with_its_shape_and_file() -> None:
    given = answer_flags([((1, 8, 8, 1), "/d/a.bin"), ((1, 4), "/d/b.bin")], "/d/out")
    assert given[-4:] == [
        "--input_layer=input0,input1",
        "--input_layer_shape=1,8,8,1:1,4",
        "--input_layer_value_files=input0:/d/a.bin,input1:/d/b.bin",
        "--output_filepath=/d/out",
    ]


def test_a_run_ends_by_its_seconds_not_by_the_binary_s_own() -> None:
    assert timing_flags(0.1875, 4) == [
        "--warmup_runs=20",
        "--warmup_min_secs=0.2",
        "--num_runs=50",
        "--min_secs=0.1875",
        "--max_secs=1",
    ]
