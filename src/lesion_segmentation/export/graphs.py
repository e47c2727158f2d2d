"""What stands before and behind the network in an exported file, in ONNX's own text form.

Double braces are filled in: {{height}} and {{width}} are the network's input size.
"""

from collections.abc import Mapping
from typing import Any

OPSET = 20

STRETCHED = """
    box = Constant<value = int64[4] {0, 0, {{height}}, {{width}}}> ()
    inner = Constant<value = int64[2] {{{height}}, {{width}}}> ()
"""
"""Where the picture lies in the network's input: top, left, height, width. Here all of it."""

PADDED = """
    wanted = Constant<value = int64[2] {{{height}}, {{width}}}> ()
    wanted_double = Cast<to = 11> (wanted)
    native_double = Cast<to = 11> (native)
    factors = Div (wanted_double, native_double)
    axis = Constant<value = int64[1] {0}> ()
    least = ReduceMin<keepdims = 0> (factors, axis)
    most = ReduceMax<keepdims = 0> (factors, axis)
    ratio = Div (most, least)
    slight = Constant<value = double {{{slight}}}> ()
    alike = LessOrEqual (ratio, slight)
    scaled_double = Mul (native_double, least)
    rounded = Round (scaled_double)
    kept = Cast<to = 7> (rounded)
    one = Constant<value = int64 {1}> ()
    at_least = Max (kept, one)
    inner = Where (alike, wanted, at_least)
    beside = Sub (wanted, inner)
    two = Constant<value = int64 {2}> ()
    corner = Div (beside, two)
    box = Concat<axis = 0> (corner, inner)
"""
"""The same for pictures that keep their proportions, as lesion_segmentation.images.resize.frame has it."""

BEFORE = """
<ir_version: {{ir}}, opset_import: ["" : 20]>
before (uint8[N, H, W, 3] pictures) => (float[N, 3, {{height}}, {{width}}] scaled, int64[4] box, int64[2] native) {
    shape = Shape (pictures)
    sides = Constant<value = int64[2] {1, 2}> ()
    native = Gather (shape, sides)
    channels_first = Transpose<perm = [0, 3, 1, 2]> (pictures)
    {{framing}}
    zero = Constant<value = int64[1] {0}> ()
    one_at = Constant<value = int64[1] {1}> ()
    two_at = Constant<value = int64[1] {2}> ()
    inner_height = Slice (inner, zero, one_at)
    inner_width = Slice (inner, one_at, two_at)
    pixels_of_all = Cast<to = 1> (channels_first)
    height_of_all = Slice (native, zero, one_at)
    width_of_all = Slice (native, one_at, two_at)
    rows_shrink = Greater (height_of_all, inner_height)
    lost_rows = Sub (height_of_all, inner_height)
    lost_columns = Sub (width_of_all, inner_width)
    twice = Add (lost_columns, lost_columns)
    fewer_columns = Less (twice, lost_rows)
    rows_first = And (rows_shrink, fewer_columns)
    small = If (rows_first) <
        then_branch = rows_then_columns () => (float[N, 3, h, w] rows_first_result) { {{rows_then_columns}} },
        else_branch = columns_then_rows () => (float[N, 3, h, w] columns_first_result) { {{columns_then_rows}} }
    >
    corner_of_box = Slice (box, zero, two_at)
    size = Constant<value = int64[2] {{{height}}, {{width}}}> ()
    end = Add (corner_of_box, inner)
    left_over = Sub (size, end)
    pads = Concat<axis = 0> (corner_of_box, left_over)
    sides_of_small = Constant<value = int64[2] {2, 3}> ()
    black = Constant<value = float {0.0}> ()
    pixels = Pad (small, pads, black, sides_of_small)
    mean = Constant<value = float[1, 3, 1, 1] {{{mean}}}> ()
    std = Constant<value = float[1, 3, 1, 1] {{{std}}}> ()
    centred = Sub (pixels, mean)
    scaled = Div (centred, std)
}
"""

RESIZED = """
    @from = Cast<to = 11> ({{from}})
    @to = Cast<to = 11> ({{to}})
    @scale = Div (@from, @to)
    @half = Constant<value = double[1] {0.5}> ()
    @nothing = Constant<value = double[1] {0.0}> ()
    @unit = Constant<value = double[1] {1.0}> ()
    @double = Constant<value = double[1] {2.0}> ()
    @reach = Constant<value = double[1] {{{reach}}}> ()
    @stretch = Max (@scale, @unit)
    @support = Mul (@reach, @stretch)
    @zero = Constant<value = int64 {0}> ()
    @one = Constant<value = int64 {1}> ()
    @first_axis = Constant<value = int64[1] {0}> ()
    @last_axis = Constant<value = int64[1] {1}> ()
    @from_scalar = Squeeze ({{from}}, @first_axis)
    @to_scalar = Squeeze ({{to}}, @first_axis)
    @sources = Range (@zero, @from_scalar, @one)
    @targets = Range (@zero, @to_scalar, @one)
    @source_row = Cast<to = 11> (@sources)
    @source = Unsqueeze (@source_row, @first_axis)
    @target_row = Cast<to = 11> (@targets)
    @target = Unsqueeze (@target_row, @last_axis)
    @target_middle = Add (@target, @half)
    @centre = Mul (@target_middle, @scale)
    @low_raw = Sub (@centre, @support)
    @low_half = Add (@low_raw, @half)
    @low_inside = Max (@low_half, @nothing)
    @low = Floor (@low_inside)
    @high_raw = Add (@centre, @support)
    @high_half = Add (@high_raw, @half)
    @high_floor = Floor (@high_half)
    @high = Min (@high_floor, @from)
    @from_low = GreaterOrEqual (@source, @low)
    @to_high = Less (@source, @high)
    @inside = And (@from_low, @to_high)
    @offset = Sub (@source, @centre)
    @offset_half = Add (@offset, @half)
    @distance_signed = Div (@offset_half, @stretch)
    @distance = Abs (@distance_signed)
    {{kernel}}
    @kept = Where (@inside, @weight, @nothing)
    @sum = ReduceSum (@kept, @last_axis)
    @share = Div (@kept, @sum)
    @bits = Constant<value = double[1] {4194304.0}> ()
    @fixed = Mul (@share, @bits)
    @fixed_up = Add (@fixed, @half)
    @fixed_down = Sub (@fixed, @half)
    @positive = Floor (@fixed_up)
    @negative = Ceil (@fixed_down)
    @is_negative = Less (@share, @nothing)
    @whole = Where (@is_negative, @negative, @positive)
    @two_bytes = Constant<value = double[1] {65536.0}> ()
    @byte = Constant<value = double[1] {256.0}> ()
    @upper_raw = Div (@whole, @two_bytes)
    @upper = Floor (@upper_raw)
    @upper_shifted = Mul (@upper, @two_bytes)
    @rest = Sub (@whole, @upper_shifted)
    @middle_raw = Div (@rest, @byte)
    @middle = Floor (@middle_raw)
    @middle_shifted = Mul (@middle, @byte)
    @lower = Sub (@rest, @middle_shifted)
    @upper_float = Cast<to = 1> (@upper)
    @middle_float = Cast<to = 1> (@middle)
    @lower_float = Cast<to = 1> (@lower)
    {{products}}
    @upper_sum = Cast<to = 11> (@upper_product)
    @middle_sum = Cast<to = 11> (@middle_product)
    @lower_sum = Cast<to = 11> (@lower_product)
    @upper_part = Mul (@upper_sum, @two_bytes)
    @middle_part = Mul (@middle_sum, @byte)
    @two_parts = Add (@upper_part, @middle_part)
    @all_parts = Add (@two_parts, @lower_sum)
    @scaled_back = Div (@all_parts, @bits)
    @rounded_up = Add (@scaled_back, @half)
    @rounded = Floor (@rounded_up)
    @darkest = Constant<value = double {0.0}> ()
    @brightest = Constant<value = double {255.0}> ()
    @clipped = Clip (@rounded, @darkest, @brightest)
    @result = Cast<to = 1> (@clipped)
"""
"""One direction of Pillow's resizing of 8 bits, bit for bit: weights in doubles, rounded to 22 bits, whole numbers.

ONNX's own Resize differs from Pillow by a grey level here and there, and networks amplify that. The weights are taken
in three bytes, whose sums with 8 bits are exact in float32, where matrices are multiplied fast. @ stands for the
direction.
"""

CUBIC = """
    @a = Constant<value = double[1] {-0.5}> ()
    @near_1 = Constant<value = double[1] {1.5}> ()
    @near_2 = Constant<value = double[1] {2.5}> ()
    @near_a = Mul (@near_1, @distance)
    @near_b = Sub (@near_a, @near_2)
    @near_c = Mul (@near_b, @distance)
    @near_d = Mul (@near_c, @distance)
    @near = Add (@near_d, @unit)
    @far_5 = Constant<value = double[1] {5.0}> ()
    @far_8 = Constant<value = double[1] {8.0}> ()
    @far_4 = Constant<value = double[1] {4.0}> ()
    @far_a = Sub (@distance, @far_5)
    @far_b = Mul (@far_a, @distance)
    @far_c = Add (@far_b, @far_8)
    @far_d = Mul (@far_c, @distance)
    @far_e = Sub (@far_d, @far_4)
    @far = Mul (@far_e, @a)
    @is_near = Less (@distance, @unit)
    @is_far = Less (@distance, @double)
    @outer = Where (@is_far, @far, @nothing)
    @weight = Where (@is_near, @near, @outer)
"""
LINEAR = """
    @slope = Sub (@unit, @distance)
    @weight = Max (@slope, @nothing)
"""
KERNELS = {"cubic": (CUBIC, 2.0), "linear": (LINEAR, 1.0)}
"""How much a source pixel weighs at a distance, and how far it reaches."""

_ACROSS = """
    @{part}_turned = Transpose<perm = [1, 0]> (@{part}_float)
    @{part}_product = MatMul ({pixels}, @{part}_turned)
"""
_DOWN = """
    @{part}_product = MatMul (@{part}_float, {pixels})
"""


def resize(resizing: str, rows_first: bool) -> str:
    """The text of both directions; which of them Pillow 13 takes first was found by trying sizes (tests compare)."""
    order = ("down", "across") if rows_first else ("across", "down")
    name = "rows_first" if rows_first else "columns_first"
    first = _resize_one(order[0], resizing, "pixels_of_all", f"{name}_{order[0]}")
    second = _resize_one(order[1], resizing, f"{name}_{order[0]}_result", f"{name}_{order[1]}")
    return f"{first}{second}\n    {name}_result = Identity ({name}_{order[1]}_result)\n"


def _resize_one(direction: str, resizing: str, pixels: str, prefix: str) -> str:
    template, sides = {
        "across": (_ACROSS, ("width_of_all", "inner_width")),
        "down": (_DOWN, ("height_of_all", "inner_height")),
    }[direction]
    kernel, reach = KERNELS[resizing]
    products = "".join(template.format(part=part, pixels=pixels) for part in ("upper", "middle", "lower"))
    text = RESIZED.replace("{{kernel}}", kernel).replace("{{products}}", products).replace("{{reach}}", str(reach))
    for name, value in zip(("from", "to"), sides, strict=True):
        text = text.replace("{{" + name + "}}", value)
    return text.replace("@", f"{prefix}_")


AFTER = """
<ir_version: {{ir}}, opset_import: ["" : 20]>
after (float[N, 1, {{height}}, {{width}}] maps, int64[4] box, int64[2] native)
    => (uint8[N, H, W] masks, float[N, H, W] probabilities) {
    zero = Constant<value = int64[1] {0}> ()
    two = Constant<value = int64[1] {2}> ()
    four = Constant<value = int64[1] {4}> ()
    corner = Slice (box, zero, two)
    inner = Slice (box, two, four)
    end = Add (corner, inner)
    sides = Constant<value = int64[2] {2, 3}> ()
    shown = Slice (maps, corner, end, sides)
    large = Resize<antialias = 1, axes = [2, 3], coordinate_transformation_mode = "half_pixel", exclude_outside = 1,
                   mode = "linear"> (shown, , , native)
    channel = Constant<value = int64[1] {1}> ()
    probabilities = Squeeze (large, channel)
    threshold = Constant<value = float {{{threshold}}}> ()
    above = Greater (probabilities, threshold)
    masks = Cast<to = 2> (above)
}
"""


def fill(text: str, values: Mapping[str, Any], **parts: str) -> str:
    """The text with its parts and values; several numbers are set beside each other."""
    filled = text
    for name, part in parts.items():
        filled = filled.replace("{{" + name + "}}", part)
    for name, value in values.items():
        shown = ", ".join(f"{each:.9g}" for each in value) if isinstance(value, tuple) else _number(value)
        filled = filled.replace("{{" + name + "}}", shown)
    return filled


def _number(value: Any) -> str:
    """Floats with a point, by which ONNX's parser knows them."""
    return f"{value:.9g}" if isinstance(value, float) and value % 1 else str(value)
