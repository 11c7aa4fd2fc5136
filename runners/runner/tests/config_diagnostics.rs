//! Mistakes in configurations: each case is named after what a user would get wrong.

#![allow(clippy::unwrap_used, missing_docs)]

mod config_support;

use config_support::mistakes;

/// A mistake that must be the only one: name, text, `line:column`, parts of the message, parts of the help.
struct Case(
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const GOOD_SAMPLER: &str = r#""sampler": { "type": "euler", "steps": 10 }"#;

/// Fills `BASE` with the required fields, on the last line.
fn fill(text: &str) -> String {
    text.replace("BASE", &format!(r#""schema": 1, "seed": 0, {GOOD_SAMPLER}"#))
}

fn run(cases: &[Case]) {
    for Case(name, text, place, message, help) in cases {
        let found = mistakes(&fill(text), &[]);
        assert_eq!(found.len(), 1, "{name}: not one mistake but {found:#?}");
        let one = &found[0];
        assert_eq!(format!("{}:{}", one.line, one.column), *place, "{name}: {one:#?}");
        for part in *message {
            assert!(one.message.contains(part), "{name}: `{part}` is not in {one:#?}");
        }
        for part in *help {
            assert!(
                one.help.as_deref().unwrap_or("").contains(part),
                "{name}: `{part}` is not in {one:#?}"
            );
        }
    }
}

#[test]
fn grammar() {
    run(&[
        Case("empty file", "", "1:1", &["empty"], &["\"schema\": 1"]),
        Case("only blanks", " \n // nothing\n", "1:1", &["nothing but"], &[]),
        Case("not an object", "[1]", "1:1", &["must be an object", "array"], &[]),
        Case("trailing comma", "{BASE,\n}", "1:69", &["comma", "last"], &["remove"]),
        Case("trailing comma in an array", "{\"anything\": [1,],\nBASE}", "1:16", &["comma"], &[]),
        Case("missing comma", "{\"anything\": 3\nBASE}", "1:14", &["comma is missing"], &[]),
        Case("two commas", "{\"anything\": 3,,\nBASE}", "1:16", &["comma too many"], &[]),
        Case("single quotes", "{\"anything\": 'a',\nBASE}", "1:14", &["double quotes"], &[]),
        Case("unquoted name", "{anything: 2,\nBASE}", "1:2", &["double quotes"], &["\"anything\""]),
        Case("unquoted value", "{\"anything\": cpu,\nBASE}", "1:14", &["`cpu`"], &["\"cpu\""]),
        Case("Python's True", "{\"anything\": True,\nBASE}", "1:14", &["`True`"], &["write true"]),
        Case("Python's None", "{\"anything\": None,\nBASE}", "1:14", &["`None`"], &["write null"]),
        Case("NaN", "{\"anything\": NaN,\nBASE}", "1:14", &["`NaN`"], &["no such number"]),
        Case(
            "-Infinity",
            "{\"anything\": -Infinity,\nBASE}",
            "1:14",
            &["`-Infinity`"],
            &["no such number"],
        ),
        Case("leading zero", "{\"anything\": 012,\nBASE}", "1:14", &["`012`"], &["digit"]),
        Case("bare point", "{\"anything\": .5,\nBASE}", "1:14", &["`.5`"], &["digit"]),
        Case("underscore in a number", "{\"anything\": 1_000,\nBASE}", "1:14", &["`1_000`"], &[]),
        Case("hexadecimal", "{\"anything\": 0xFF,\nBASE}", "1:14", &["`0xFF`"], &[]),
        Case("1e999", "{\"anything\": [1e999],\nBASE}", "1:15", &["1e999", "too large"], &[]),
        Case("equals sign", "{\"anything\" = 2,\nBASE}", "1:13", &["`:`", "`=`"], &[]),
        Case("no value", "{\"anything\": ,\nBASE}", "1:2", &["`anything` has no value"], &[]),
        Case("hash comment", "{# here\nBASE}", "1:2", &["comment"], &["//"]),
        Case("open comment", "{BASE /* here }", "1:70", &["comment is never closed"], &["*/"]),
        Case("open brace", "{BASE", "1:1", &["`{` is never closed"], &["`}`"]),
        Case(
            "open bracket",
            "{BASE,\n\"anything\": [1, [2]",
            "2:13",
            &["`[` is never closed"],
            &["`]`"],
        ),
        Case(
            "wrong bracket",
            "{\"anything\": [1, 2}, BASE}",
            "1:19",
            &["`}` does not match the `[`", ":1:14"],
            &[],
        ),
        Case("open string", "{\"anything\": \"abc,\nBASE}", "1:14", &["not closed"], &[]),
        Case("bad escape", "{\"anything\": \"C:\\data\",\nBASE}", "1:17", &["escape"], &["\\\\"]),
        Case(
            "half a surrogate pair",
            "{\"anything\": \"\\ud800\",\nBASE}",
            "1:15",
            &["not a character"],
            &[],
        ),
        Case(
            "bare tab in a string",
            "{\"anything\": \"a\tb\",\nBASE}",
            "1:16",
            &["U+0009"],
            &["\\u0009"],
        ),
        Case("text after the end", "{BASE}\n{}", "2:1", &["after the end"], &[]),
        Case(
            "columns count bytes",
            "{\"anything\": \"äöü…\" /* ä */, \"sed\": 1,\nBASE}",
            "1:30",
            &["`sed`"],
            &["`seed`"],
        ),
    ]);
}

#[test]
fn fields_and_components() {
    run(&[
        Case(
            "unknown field",
            "{\"trainin\": {},\nBASE}",
            "1:2",
            &["unknown field `trainin`"],
            &["`training`", "`seed`"],
        ),
        Case(
            "unknown nested field",
            "{\"training\": {\n \"lrr\": 1},\nBASE}",
            "2:2",
            &["`lrr` in `training`"],
            &["did you mean `lr`", "`steps`"],
        ),
        Case(
            "missing field",
            "{\"schema\": 1,\n\"sampler\": {\"type\": \"exact\"}}",
            "1:1",
            &["missing field `seed`"],
            &["integer", "Seed of all random streams"],
        ),
        Case(
            "missing fields of a component",
            "{BASE, \"warmup\":\n{\"type\": \"linear\"}}",
            "2:10",
            &["`beta_min`, `beta_max`", "schedule `linear`"],
            &["a number"],
        ),
        Case(
            "missing type",
            "{\"schema\": 1, \"seed\": 1, \"sampler\":\n{\"steps\": 3}}",
            "2:1",
            &["missing \"type\" in `sampler`"],
            &["`euler`, `exact`"],
        ),
        Case(
            "type not a string",
            "{\"schema\": 1, \"seed\": 1, \"sampler\":\n{\"type\": 3}}",
            "2:10",
            &["\"type\"", "the number 3"],
            &["`euler`"],
        ),
        Case(
            "unknown type",
            "{\"schema\": 1, \"seed\": 1, \"sampler\":\n{\"type\": \"eulre\", \"what\": 1}}",
            "2:10",
            &["unknown sampler `eulre`"],
            &["did you mean `euler`", "`exact`"],
        ),
        Case(
            "a component's name instead of an object",
            "{\"warmup\": \"cosine\", BASE}",
            "1:12",
            &["must be a schedule"],
            &["{ \"type\": \"cosine\" }"],
        ),
        Case(
            "unknown field of a component",
            "{\"warmup\": {\"type\": \"cosine\", \"ofset\": 1}, BASE}",
            "1:31",
            &["`ofset` in schedule `cosine`"],
            &["`offset`"],
        ),
        Case(
            "unknown field before a late type",
            "{\"warmup\": {\"ofset\": 1, \"type\": \"cosine\"}, BASE}",
            "1:13",
            &["`ofset` in schedule `cosine`"],
            &["`offset`"],
        ),
        Case(
            "field of a component without any",
            "{\"schema\": 1, \"seed\": 1, \"sampler\":\n{\"type\": \"exact\", \"steps\": 3}}",
            "2:19",
            &["`steps` in sampler `exact`"],
            &["no fields"],
        ),
        Case(
            "component in an array",
            "{\"schedules\": [{\"type\": \"cosine\"}, {\"type\": \"cosin\"}], BASE}",
            "1:45",
            &["unknown schedule `cosin`"],
            &["`cosine`"],
        ),
        Case(
            "component in a map",
            "{\"named\": {\"a\": {\"type\": \"cosin\"}}, BASE}",
            "1:26",
            &["unknown schedule `cosin`"],
            &[],
        ),
        Case(
            "component in a component",
            "{\"schema\": 1, \"seed\": 1, \"sampler\": {\"steps\": 5, \"schedule\": {\"type\": \"linear\", \"beta_min\": \"a\", \"beta_max\": 1}, \"type\": \"euler\"}}",
            "1:93",
            &["`sampler.schedule.beta_min` must be a number"],
            &[],
        ),
        Case(
            "number instead of a component",
            "{\"warmup\": 3, BASE}",
            "1:12",
            &["schedule", "the number 3"],
            &["`cosine`"],
        ),
        Case(
            "duplicate key",
            "{\"seed\": 1,\nBASE}",
            "2:14",
            &["`seed` is given twice", ":1:2"],
            &[],
        ),
        Case(
            "duplicate type",
            "{\"warmup\": {\"type\": \"cosine\",\n\"type\": \"linear\"}, BASE}",
            "2:1",
            &["`type` is given twice", ":1:13"],
            &[],
        ),
        Case(
            "duplicate key in other spelling",
            "{\"anything\": {\"a\": 1, \"\\u0061\": 2}, BASE}",
            "1:23",
            &["`a` is given twice"],
            &[],
        ),
    ]);
}

#[test]
fn types_and_ranges() {
    run(&[
        Case(
            "string for a number",
            "{\"training\": {\"lr\": \"1e-3\"}, BASE}",
            "1:21",
            &["`training.lr` must be a number", "\"1e-3\""],
            &["without quotes"],
        ),
        Case(
            "number for a string",
            "{\"training\": {\"name\": 3}, BASE}",
            "1:23",
            &["must be a string"],
            &["\"3\""],
        ),
        Case(
            "string for a boolean",
            "{\"training\": {\"shuffle\": \"true\"}, BASE}",
            "1:26",
            &["must be a boolean"],
            &["without quotes"],
        ),
        Case(
            "null where a value is needed",
            "{\"training\": {\"lr\": null}, BASE}",
            "1:21",
            &["found null"],
            &[],
        ),
        Case(
            "array for an object",
            "{\"training\": [1], BASE}",
            "1:14",
            &["must be an object", "array of 1"],
            &[],
        ),
        Case(
            "wrong type of an option",
            "{\"training\": {\"clip\": \"a\"}, BASE}",
            "1:23",
            &["a number or null"],
            &[],
        ),
        Case(
            "float for an integer",
            "{\"training\": {\"steps\": 1.5}, BASE}",
            "1:24",
            &["must be an integer", "1.5"],
            &[],
        ),
        Case(
            "exponent for an integer",
            "{\"training\": {\"steps\": 1e5}, BASE}",
            "1:24",
            &["must be an integer"],
            &["write 100000"],
        ),
        Case(
            "below the minimum",
            "{\"training\": {\"steps\": 0}, BASE}",
            "1:24",
            &["out of range", "at least 1", "found 0"],
            &[],
        ),
        Case(
            "beyond u32",
            "{\"training\": {\"steps\": 4294967296}, BASE}",
            "1:24",
            &["from 1 to 4294967295"],
            &[],
        ),
        Case(
            "beyond u64",
            "{\"schema\": 1, \"seed\": 18446744073709551616, \"sampler\": {\"type\": \"exact\"}}",
            "1:23",
            &["from 0 to 18446744073709551615"],
            &[],
        ),
        Case(
            "negative for unsigned",
            "{\"schema\": 1, \"seed\": -1, \"sampler\": {\"type\": \"exact\"}}",
            "1:23",
            &["at least 0"],
            &[],
        ),
        Case(
            "beyond i64",
            "{\"training\": {\"offset\": -9223372036854775809}, BASE}",
            "1:25",
            &["out of range"],
            &[],
        ),
        Case("an integer of a thousand digits", thousand_digits(), "1:25", &["too large"], &[]),
        Case(
            "beyond u8",
            "{\"training\": {\"pair\": [256, \"a\"]}, BASE}",
            "1:24",
            &["`training.pair.0`", "255"],
            &[],
        ),
        Case(
            "beyond f32",
            "{\"training\": {\"clip\": 1e39}, BASE}",
            "1:23",
            &["out of range", "3.4028234663852886e38"],
            &[],
        ),
        Case("huge exponent", "{\"training\": {\"lr\": 1e999}, BASE}", "1:21", &["too large"], &[]),
        Case(
            "zero with an exclusive bound",
            "{\"training\": {\"lr\": 0}, BASE}",
            "1:21",
            &["greater than 0 and at most 1", "found 0"],
            &[],
        ),
        Case(
            "above the maximum",
            "{\"training\": {\"lr\": 1.0000001}, BASE}",
            "1:21",
            &["greater than 0 and at most 1"],
            &[],
        ),
        Case(
            "range of a component",
            "{\"schema\": 1, \"seed\": 1, \"sampler\": {\"type\": \"euler\", \"steps\": 10001}}",
            "1:64",
            &["an integer from 1 to 10000", "found 10001"],
            &[],
        ),
        Case(
            "too few elements",
            "{\"training\": {\"betas\": [0.9]}, BASE}",
            "1:24",
            &["exactly 2 elements, found 1"],
            &[],
        ),
        Case(
            "empty list",
            "{\"training\": {\"rates\": []}, BASE}",
            "1:24",
            &["at least 1", "found 0"],
            &[],
        ),
        Case(
            "wrong element",
            "{\"training\": {\"betas\": [0.9, \"x\"]}, BASE}",
            "1:30",
            &["`training.betas.1` must be a number"],
            &[],
        ),
        Case(
            "tuple too long",
            "{\"training\": {\"pair\": [1, \"a\", 2]}, BASE}",
            "1:23",
            &["exactly 2 elements, found 3"],
            &[],
        ),
        Case(
            "scalar for an array",
            "{\"training\": {\"rates\": 0.9}, BASE}",
            "1:24",
            &["must be an array"],
            &["brackets"],
        ),
        Case(
            "empty name",
            "{\"training\": {\"name\": \"\"}, BASE}",
            "1:23",
            &["must not be empty"],
            &[],
        ),
        Case(
            "value of an enum",
            "{\"training\": {\"kind\": \"f46\"}, BASE}",
            "1:23",
            &["cannot be \"f46\""],
            &["`f32`, `f64`"],
        ),
        Case(
            "value of a described enum",
            "{\"training\": {\"device\": \"cdua\"}, BASE}",
            "1:25",
            &["cannot be \"cdua\""],
            &["did you mean `cuda`", "`cpu`"],
        ),
        Case("key of a map of integers", "{\"by_step\": {\"x\": 1}, BASE}", "1:14", &["`x`"], &[]),
        Case(
            "value of a map of integers",
            "{\"by_step\": {\"7\": \"a\"}, BASE}",
            "1:19",
            &["`by_step.7` must be a number"],
            &[],
        ),
    ]);
}

fn thousand_digits() -> &'static str {
    // The cases hold static text, and this one is made once.
    Box::leak(
        format!("{{\"training\": {{\"offset\": {}}}, BASE}}", "9".repeat(1000)).into_boxed_str(),
    )
}

#[test]
fn enums() {
    run(&[
        Case(
            "missing tag",
            "{\"noise\": {\"sigma\": 1}, BASE}",
            "1:11",
            &["missing \"law\""],
            &["`gaussian`, `uniform`"],
        ),
        Case(
            "unknown tag",
            "{\"noise\": {\"law\": \"gausian\"}, BASE}",
            "1:19",
            &["cannot be \"gausian\""],
            &["`gaussian`"],
        ),
        Case(
            "field of another variant",
            "{\"noise\": {\"law\": \"gaussian\", \"sigma\": 1, \"low\": 0}, BASE}",
            "1:43",
            &["`low`"],
            &["`sigma`"],
        ),
        Case(
            "missing field of a variant",
            "{\"noise\": {\"law\": \"uniform\", \"low\": 1}, BASE}",
            "1:11",
            &["missing field `high`"],
            &[],
        ),
        Case("wrong type of an enum", "{\"noise\": 3, BASE}", "1:11", &["must be an object"], &[]),
        Case(
            "untagged: nothing fits",
            "{\"loose\": \"a\", BASE}",
            "1:11",
            &["an integer, an object or an array"],
            &[],
        ),
        Case(
            "untagged: field of the nearest",
            "{\"loose\": {\"from\": 1, \"to\": \"a\"}, BASE}",
            "1:29",
            &["`loose.to` must be a number"],
            &[],
        ),
        Case(
            "untagged: nested",
            "{\"loose\": [1, [2, -3]], BASE}",
            "1:19",
            &["`loose.1.1`", "at least 0"],
            &[],
        ),
        Case(
            "unknown unit variant",
            "{\"outer\": \"of\", BASE}",
            "1:11",
            &["cannot be \"of\""],
            &["`off`"],
        ),
        Case(
            "unknown variant",
            "{\"outer\": {\"fixd\": 1}, BASE}",
            "1:12",
            &["variant `fixd`"],
            &["`fixed`", "`linear`"],
        ),
        Case(
            "value of a variant",
            "{\"outer\": {\"fixed\": \"a\"}, BASE}",
            "1:21",
            &["`outer.fixed` must be a number"],
            &[],
        ),
    ]);
}

#[test]
fn schema_version() {
    let rest = format!(r#""seed": 1, {GOOD_SAMPLER}"#);
    let of = |version: &str| {
        let found = mistakes(&format!("{{\n{version}{rest}}}"), &[]);
        assert_eq!(found.len(), 1, "{found:#?}");
        found.into_iter().next().unwrap()
    };
    let missing = of("");
    assert_eq!((missing.line, missing.column), (1, 1));
    assert!(missing.help.unwrap().contains("add the line \"schema\": 1,"));
    let newer = of("\"schema\": 2,");
    assert_eq!((newer.line, newer.column), (2, 11));
    assert!(newer.message.contains("version 2") && newer.message.contains("reads up to 1"));
    for wrong in ["0", "\"1\"", "1.5", "null", "-1", "99999999999999999999"] {
        let found = of(&format!("\"schema\": {wrong},"));
        assert!(found.message.contains("must be the version 1"), "{found:#?}");
    }
}

#[test]
fn only_the_first_mistake_is_found() {
    let text = r#"{
  "schema": 1,
  "sede": 3,
  "sampler": { "type": "euler", "steps": 0, "schedule": { "type": "cosin" } },
  "training": { "lr": "x", "betas": [1], "kind": "f16", "steps": 2.5, },
  "noise": { "law": "gaussian" },
  'loose': 5
}"#;
    let places: Vec<(usize, usize)> =
        mistakes(text, &[]).iter().map(|d| (d.line, d.column)).collect();
    let expected = [
        (1, 1),
        (3, 3),
        (4, 42),
        (4, 67),
        (5, 23),
        (5, 37),
        (5, 50),
        (5, 66),
        (5, 69),
        (6, 12),
        (7, 3),
    ];
    assert_eq!(places, expected);
}
