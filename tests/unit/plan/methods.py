"""Every public method and function of the column engine that makes an expression, with examples.

``ROW_WISE`` computes each row from itself, ``OTHER_ROWS`` does not; some names do both, by what
they are given. ``NO_COLUMN`` makes no column. A name that stands nowhere is new: it has to be
looked at, here and in `processor.plan.overflow`.
"""

from __future__ import annotations

import datetime as dt
import warnings
from typing import Any

import polars as pl
import polars.selectors as cs

SCHEMA: dict[str, pl.DataType] = {
    "a": pl.Int64(), "b": pl.Int64(), "x": pl.Float64(), "s": pl.String(), "t": pl.Datetime("us"),
    "d": pl.Date(), "du": pl.Duration("us"), "ti": pl.Time(), "l": pl.List(pl.Int64()),
    "ls": pl.List(pl.String()), "lb": pl.List(pl.Boolean()), "ar": pl.Array(pl.Int64(), 2),
    "ab": pl.Array(pl.Boolean(), 2), "as": pl.Array(pl.String(), 2),
    "st": pl.Struct({"p": pl.Int64(), "q": pl.String()}), "c": pl.Categorical(),
    "e": pl.Enum(["u", "v"]), "y": pl.Binary(), "bo": pl.Boolean(),
}  # fmt: skip
a, b, x, s, t, d, du, ti, nums, ls, lb, ar, ab, as_, st, c, e, y, bo = map(pl.col, SCHEMA)
one = pl.element()


def same(value: Any) -> Any:
    return value


def words(text: str) -> list[str]:
    return text.split()


def plain(on: Any, names: str) -> dict[str, pl.Expr]:
    return {name: getattr(on, name)() for name in words(names)}


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    CUT, QCUT = x.cut([1, 2]), x.qcut(2)
I64 = {"return_dtype": pl.Int64}
LABELS = {"labels": ["p", "q"]}

ROW_WISE: dict[str, dict[str, pl.Expr | list[pl.Expr]]] = {
    "Expr": plain(
        x,
        "abs arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cos cosh cot degrees erf erfc "
        "exp floor is_finite is_infinite is_nan is_not_nan is_not_null is_null log log10 log1p neg "
        "radians round sign sin sinh sqrt tan tanh to_physical truncate hash",
    )
    | plain(
        a,
        "bitwise_count_ones bitwise_count_zeros bitwise_leading_ones bitwise_leading_zeros "
        "bitwise_trailing_ones bitwise_trailing_zeros lower_bound upper_bound",
    )
    | {
        name: getattr(a, name)(b)
        for name in words(
            "add eq eq_missing floordiv ge gt le lt mod mul ne ne_missing pow sub truediv "
        "truncdiv")
    }
    | {name: getattr(bo, name)(bo) for name in ("and_", "or_", "xor")}
    | {
        "alias": a.alias("z"), "bin_intervals": x.bin_intervals([1], **LABELS),
        "cast": [a.cast(pl.Int8), s.cast(pl.Categorical), x.cast(pl.Int64, strict=False)],
        "clip": a.clip(0, 5), "cut": CUT, "exclude": pl.all().exclude("a"),
        "fill_nan": x.fill_nan(0), "fill_null": [a.fill_null(0), a.fill_null(b)],
        "is_between": a.is_between(0, b), "is_close": x.is_close(1.0),
        "is_in": [a.is_in([1, 2]), a.is_in(nums), a.is_in(pl.Series([1, 2])), c.is_in(["a"])],
        "map_batches": a.map_batches(same, is_elementwise=True, **I64),
        "map_elements": [
            a.map_elements(same, **I64), cs.numeric().map_elements(same, **I64),
            pl.struct("a", "b").map_elements(lambda row: row["a"], **I64) + 1,
        ],
        "not_": bo.not_(), "pipe": a.pipe(lambda n: n + 1),
        "pipe_with_dtype": a.pipe_with_dtype(lambda n, _: n + 1),
        "reinterpret": a.reinterpret(signed=False), "repeat_by": s.repeat_by(a),
        "replace": a.replace({1: 2}), "replace_strict": a.replace_strict({1: 2}, default=0),
        "round_sig_figs": x.round_sig_figs(1),
    },
    "str": plain(
        s.str,
        "escape_regex len_bytes len_chars normalize reverse strip_chars strip_chars_end "
        "strip_chars_start to_lowercase to_titlecase to_uppercase to_integer",
    )
    | {
        "contains": [s.str.contains("a"), s.str.contains(s)],
        "contains_any": s.str.contains_any(["a"]), "count_matches": s.str.count_matches("a"),
        "decode": s.str.decode("hex"), "encode": s.str.encode("hex"),
        "ends_with": s.str.ends_with("a"), "extract": s.str.extract("(a)"),
        "extract_all": s.str.extract_all("a"), "extract_groups": s.str.extract_groups("(a)"),
        "extract_many": s.str.extract_many(["a"]), "find": s.str.find("a"),
        "find_many": s.str.find_many(["a"]), "head": s.str.head(1), "tail": s.str.tail(1),
        "json_decode": s.str.json_decode(pl.Int64), "json_path_match": s.str.json_path_match("$.a"),
        "pad_end": s.str.pad_end(3), "pad_start": s.str.pad_start(3), "zfill": s.str.zfill(3),
        "replace": s.str.replace("a", "b"), "replace_all": s.str.replace_all("a", "b"),
        "replace_many": s.str.replace_many(["a"], ["b"]), "slice": s.str.slice(1),
        "split": s.str.split(","), "split_exact": s.str.split_exact(",", 1),
        "splitn": s.str.splitn(",", 1), "starts_with": s.str.starts_with("a"),
        "strip_prefix": s.str.strip_prefix("a"), "strip_suffix": s.str.strip_suffix("a"),
        "strptime": s.str.strptime(pl.Date, "%Y"), "to_date": s.str.to_date("%Y-%m-%d"),
        "to_datetime": s.str.to_datetime("%Y-%m-%d"), "to_time": s.str.to_time("%H"),
        "to_decimal": s.str.to_decimal(scale=2),
    },
    "dt": plain(
        t.dt,
        "century date day days_in_month epoch hour is_leap_year iso_year microsecond millennium "
        "millisecond minute month month_end month_start nanosecond ordinal_day quarter second time "
        "timestamp to_string week weekday year",
    )
    | plain(
        du.dt,
        "total_days total_hours total_microseconds total_milliseconds total_minutes "
        "total_nanoseconds total_seconds",
    )
    | plain(t.dt.replace_time_zone("UTC").dt, "base_utc_offset dst_offset")
    | {
        "add_business_days": [
            d.dt.add_business_days(1),
            d.dt.add_business_days(a, holidays=[dt.date(1970, 1, 2)], roll="forward").dt.year() + 1,
        ],
        "is_business_day": d.dt.is_business_day(), "cast_time_unit": t.dt.cast_time_unit("ms"),
        "combine": d.dt.combine(ti), "convert_time_zone": t.dt.convert_time_zone("Asia/Tokyo"),
        "offset_by": t.dt.offset_by("1h"), "replace": t.dt.replace(year=2000),
        "replace_time_zone": t.dt.replace_time_zone("UTC"), "round": t.dt.round("1h"),
        "strftime": t.dt.strftime("%Y"), "truncate": t.dt.truncate("1h"),
    },
    "list": plain(
        nums.list,
        "arg_max arg_min diff drop_nulls first last len max mean median min n_unique reverse shift "
        "sort std sum unique var",
    )
    | plain(lb.list, "all any")
    | {
        "agg": nums.list.agg(one.sum()), "concat": nums.list.concat(nums),
        "contains": nums.list.contains(a),
        "count_matches": nums.list.count_matches(1), "filter": nums.list.filter(one > 1),
        "eval": [
            nums.list.eval(one * 2), nums.list.eval(one - one.mean()), nums.list.eval(one.rank()),
        ],
        "gather": nums.list.gather([0], null_on_oob=True),
        "gather_every": nums.list.gather_every(2),
        "get": nums.list.get(a, null_on_oob=True), "head": nums.list.head(1),
        "tail": nums.list.tail(1),
        "item": nums.list.item(allow_empty=True), "join": ls.list.join(","),
        "sample": nums.list.sample(2, seed=1), "slice": nums.list.slice(0, 1),
        "to_array": nums.list.to_array(20), "to_struct": nums.list.to_struct(fields=["p"]),
        **{
            f"set_{name}": getattr(nums.list, f"set_{name}")(nums)
            for name in ("difference", "intersection", "symmetric_difference", "union")
        },
    },
    "arr": plain(
        ar.arr,
        "arg_max arg_min first last len max mean median min n_unique reverse shift sort std sum "
        "to_list to_struct unique var",
    )
    | plain(ab.arr, "all any")
    | {
        "agg": ar.arr.agg(one.sum()), "contains": ar.arr.contains(1), "dot": ar.arr.dot(ar),
        "count_matches": ar.arr.count_matches(1), "eval": ar.arr.eval(one * 2),
        "get": ar.arr.get(0), "head": ar.arr.head(1), "tail": ar.arr.tail(1),
        "join": as_.arr.join(","), "slice": ar.arr.slice(0, 1),
    },
    "struct": {
        "drop": st.struct.drop(["p"]), "eval": st.struct.eval(pl.field("p") + 1),
        "field": st.struct.field("p"), "json_encode": st.struct.json_encode(),
        "rename_fields": st.struct.rename_fields(["m", "n"]),
        "unnest": st.struct.unnest(), "with_fields": st.struct.with_fields(pl.field("p") + 1),
    },
    "cat": plain(c.cat, "len_bytes len_chars")
    | {
        "ends_with": c.cat.ends_with("a"), "starts_with": c.cat.starts_with("a"),
        "slice": c.cat.slice(1), "physical": e.cat.physical(),
        "to": a.cast(pl.UInt8).cat.to(pl.Enum(["u", "v", "w", "x"])),
    },
    "bin": plain(y.bin, "size")
    | {
        "contains": y.bin.contains(b"a"), "decode": y.bin.decode("hex"),
        "get": y.bin.get(0, null_on_oob=True),
        "encode": y.bin.encode("hex"), "ends_with": y.bin.ends_with(b"a"), "head": y.bin.head(1),
        "reinterpret": y.bin.reinterpret(dtype=pl.Int64), "slice": y.bin.slice(0, 1),
        "starts_with": y.bin.starts_with(b"a"), "tail": y.bin.tail(1),
    },
    "name": plain(a.name, "keep to_lowercase to_uppercase")
    | {
        "map": a.name.map(str.upper), "prefix": a.name.prefix("z"), "suffix": a.name.suffix("z"),
        "replace": a.name.replace("a", "z"), "strip_prefix": pl.col("st").name.strip_prefix("s"),
        "strip_suffix": pl.col("st").name.strip_suffix("t"),
        "map_fields": st.name.map_fields(str.upper), "prefix_fields": st.name.prefix_fields("z"),
        "suffix_fields": st.name.suffix_fields("z"),
    },
    "polars": {
        "all": pl.all(), "all_horizontal": pl.all_horizontal(bo, a > 1),
        "any_horizontal": pl.any_horizontal(bo, a > 1), "arctan2": pl.arctan2("x", "x"),
        "business_day_count": pl.business_day_count(d, d), "coalesce": pl.coalesce("a", "b", 0),
        "col": [pl.col("a"), pl.col("^a$") * 2, pl.col("a", "b") + 1, pl.col(pl.Int64) * 2],
        "concat_arr": pl.concat_arr("a", "b"), "concat_list": pl.concat_list("a", "b"),
        "concat_str": pl.concat_str("s", "a"), "date": pl.date(a + 1970, 1, 1),
        "date_ranges": pl.date_ranges(d, d), "datetime": pl.datetime(a + 1970, 1, 1),
        "datetime_ranges": pl.datetime_ranges(t, t), "duration": pl.duration(days=a),
        "dtype_of": a.cast(pl.dtype_of("b")), "exclude": pl.exclude("a"), "first": pl.first(),
        "format": pl.format("{}-{}", a, s), "from_epoch": pl.from_epoch(a),
        "int_ranges": pl.int_ranges(0, a), "last": pl.last(),
        "linear_spaces": pl.linear_spaces(0, x, 3),
        "lit": [pl.lit(1), pl.lit(None), pl.lit([1, 2]), t + dt.timedelta(days=1)],
        "map_batches": pl.map_batches(["a", "b"], lambda n: n[0], is_elementwise=True, **I64),
        "max_horizontal": pl.max_horizontal("a", "b"),
        "min_horizontal": pl.min_horizontal("a", "b"),
        "mean_horizontal": pl.mean_horizontal("a", "b"), "nth": pl.nth(0) + 1,
        "sql_expr": pl.sql_expr("a + 1"),
        "struct": [pl.struct("a", "b"), pl.struct(pl.all())],
        "sum_horizontal": [pl.sum_horizontal("a", "b"), pl.sum_horizontal(cs.integer())],

        "pipe_with_dtype": pl.pipe_with_dtype([a], lambda of: of[0][0] + 1),
        "time": pl.time(a), "time_ranges": pl.time_ranges(ti, ti),
        "when": [pl.when(a > 1).then(b).otherwise(0), pl.when(a > 1).then(b).when(b > 1).then(a)],
    },
    "selectors": {
        "numeric": [cs.numeric() - 1, cs.by_name("a") + cs.by_name("b"), cs.integer().abs()],
    },
}  # fmt: skip

OTHER_ROWS: dict[str, dict[str, pl.Expr | list[pl.Expr]]] = {
    "Expr": plain(
        x,
        "approx_n_unique arg_max arg_min arg_sort arg_unique backward_fill count cum_count cum_max "
        "cum_min cum_prod cum_sum diff drop_nans drop_nulls entropy first forward_fill has_nulls "
        "head hist implode interpolate is_duplicated is_empty is_first_distinct is_last_distinct "
        "is_sorted is_unique item kurtosis last len limit max mean median min mode n_unique "
        "nan_max nan_min null_count pct_change peak_max peak_min product rank reverse rle rle_id "
        "sample set_sorted shift shuffle skew sort std sum tail top_k bottom_k unique "
        "unique_counts value_counts var",
    )
    | plain(bo, "all any arg_true")
    | plain(a, "bitwise_and bitwise_or bitwise_xor")
    | {
        "append": [a.append(b), a.append(1)], "approx_quantile": x.approx_quantile(0.5),
        "bin_quantiles": x.bin_quantiles([0.5], **LABELS), "bin_ranks": x.bin_ranks(2, **LABELS),
        "bottom_k_by": a.bottom_k_by("b", 1), "top_k_by": a.top_k_by("b", 1), "dot": a.dot(b),
        "cumulative_eval": a.cumulative_eval(one.sum()), "ewm_mean": x.ewm_mean(alpha=0.5),
        "ewm_mean_by": x.ewm_mean_by("t", half_life="1h"), "ewm_std": x.ewm_std(alpha=0.5),
        "ewm_sum": x.ewm_sum(alpha=0.5), "ewm_sum_by": x.ewm_sum_by("t", half_life="1h"),
        "ewm_var": x.ewm_var(alpha=0.5),
        "explode": [nums.explode(), a.map_elements(same, return_dtype=pl.List(pl.Int64)).explode()],
        "extend_constant": a.extend_constant(1, 2), "filter": a.filter(a > 1),
        "fill_null": [
            a.fill_null(strategy="forward"), a.fill_null(strategy="mean"), a.fill_null(a.mean()),
        ],
        "gather": [a.gather([0]), a.gather(b)], "gather_every": a.gather_every(2), "get": a.get(0),
        "index_of": a.index_of(1), "inspect": a.inspect(), "interpolate_by": x.interpolate_by("t"),
        "is_in": [a.is_in(b), a.is_in(b.implode())],
        "map_batches": [
            a.map_batches(same, **I64), a.map_batches(same, **I64) + 1,
            a.map_batches(same, returns_scalar=True, **I64),
        ],
        "map_elements": [a.sum().map_elements(same, **I64), a.map_elements(same, **I64).sum()],
        "max_by": a.max_by("b"), "min_by": a.min_by("b"),
        "over": [a.sum().over("b"), a.over("b"), a - a.mean().over("b")], "qcut": QCUT,
        "pipe_with_dtype": a.pipe_with_dtype(lambda n, _: n - n.mean()),
        "quantile": x.quantile(0.5), "replace": a.replace(b, 1),
        "replace_strict": a.replace_strict(b, a), "reshape": a.reshape((-1, 1)),
        "rolling": a.sum().rolling("t", period="1h"),
        "rolling_map": x.rolling_map(lambda _: 1.0, 2), "rolling_rank": x.rolling_rank(2),
        "rolling_quantile": x.rolling_quantile(0.5, window_size=2),
        "rolling_quantile_by": x.rolling_quantile_by("t", "1h", quantile=0.5),
        **{
            f"rolling_{name}": getattr(x, f"rolling_{name}")(2)
            for name in words("kurtosis max mean median min skew std sum var")
        },
        **{
            f"rolling_{name}_by": getattr(x, f"rolling_{name}_by")("t", "1h")
            for name in words("max mean median min rank std sum var")
        },
        "search_sorted": [a.search_sorted(b), a.search_sorted(1)], "slice": a.slice(0, 1),
        "sort_by": a.sort_by("b"),
        "to_physical": [c.to_physical(), s.cast(pl.Categorical).to_physical()],
        "cast": c.cast(pl.UInt32),
    },
    "str": plain(s.str, "join to_date to_datetime to_time")
    | {"strptime": [s.str.strptime(pl.Date), pl.coalesce(s.str.strptime(pl.Datetime), t)]},
    "list": {
        "explode": nums.list.explode(),
        "sample": [nums.list.sample(3), nums.list.eval(one.shuffle())],
    },
    "arr": {"explode": ar.arr.explode()},
    "cat": {"physical": c.cat.physical()},
    "polars": plain(pl, "len row_index")
    | {
        name: getattr(pl, name)("a")
        for name in words(
            "approx_n_unique arg_sort_by count cum_count cum_sum first head implode last max "
        "mean median min n_unique std sum tail var")
    }
    | {
        "all": [pl.all("bo"), pl.all().first(), pl.all().reverse()],
        "any": pl.any("bo"), "arange": pl.arange(0, pl.len()), "arg_where": pl.arg_where(a > 1),
        "col": [pl.col("^a$") - pl.col("^a$").mean(), pl.col("a", "b").shift()],
        "coalesce": pl.coalesce(a, b.max()), "concat_list": pl.concat_list(a, a.sum()),
        "concat_str": pl.concat_str(s, s.first()), "corr": pl.corr("a", "b"),
        "cov": pl.cov("a", "b"), "cum_fold": pl.cum_fold(pl.lit(0), lambda p, q: p + q, ["a", "b"]),
        "cum_reduce": pl.cum_reduce(lambda p, q: p + q, ["a", "b"]),
        "cum_sum_horizontal": pl.cum_sum_horizontal("a", "b"),
        "date_range": pl.date_range(dt.date(1970, 1, 1), dt.date(1970, 1, 2)),
        "datetime_range": pl.datetime_range(dt.datetime(1970, 1, 1), dt.datetime(1970, 1, 2)),
        "fold": pl.fold(pl.lit(0), lambda p, q: p + q, ["a", "b"]),
        "int_range": [pl.int_range(pl.len()), pl.int_range(3)],
        "linear_space": pl.linear_space(0, 1, 3),
        "lit": [
            pl.lit(pl.Series([1, 2])), a + pl.lit(pl.Series([1, 2])), pl.lit(pl.Series([1])),
            pl.lit([1, 2]).explode(),
        ],
        "map_batches": pl.map_batches(["a", "b"], lambda n: n[0], **I64),
        "map_groups": pl.map_groups(["a"], lambda n: n[0], **I64),
        "nth": pl.nth(0) - pl.nth(0).mean(),
        "ones": pl.ones(3), "quantile": pl.quantile("a", 0.5),
        "reduce": pl.reduce(lambda p, q: p + q, ["a", "b"]), "repeat": pl.repeat(1, 3),
        "rolling_corr": pl.rolling_corr("a", "b", window_size=2),
        "rolling_cov": pl.rolling_cov("a", "b", window_size=2),
        "sql_expr": pl.sql_expr("a - max(a)"), "struct": pl.struct(a, b.sum()),
        "time_range": pl.time_range(),
        "when": [pl.when(a > a.max()).then(1), pl.when(a > 1).then(a.max())],
        "zeros": pl.zeros(pl.len()),
    },
    "selectors": {
        "numeric": [
            cs.numeric() - cs.numeric().mean(), cs.numeric().shift(), cs.numeric().sum() + a,
            cs.numeric().over("s"), cs.integer().rank(), cs.string().first(),
        ],
    },
}  # fmt: skip

# What makes no column of rows: accessors, frames, files, settings, and what stands in others only.
NO_COLUMN: dict[str, set[str]] = {
    "Expr": set(words("arr bin cat deserialize dt ext list map meta name str struct")),
    "polars": set(
        words(
            "align_frames api build_info collect_all collect_all_async concat defer delete_iceberg "
            "disable_string_cache element enable_string_cache escape_regex exceptions explain_all "
            "field from_arrow from_dataframe from_dict from_dicts from_numpy from_pandas "
            "from_records "
            "from_repr from_torch get_extension_type get_index_type json_normalize list "
            "merge_sorted "
            "plugins register_extension_type select selectors set_random_seed show_versions sql "
            "self_dtype struct_with_fields "
            "thread_pool_size union unregister_extension_type using_string_cache"
        )
    )
    | {name for name in pl.__all__ if name.startswith(("read_", "scan_"))},
    "list": {"to_map"},
    "ext": {"storage", "to"},
    "map": {"contains_key", "entries", "get", "keys", "len", "values"},
}
