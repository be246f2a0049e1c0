/*
 * rows.h - documents, what becomes of them, and why each is here.
 *
 * For tests/unit/test_json.c (the scanner), test_lua_json.c (decode and
 * encode) and tests/fuzz/fuzz_json.c (seeds).  A row that is taken says how it
 * reads after decode and encode; one that is refused has NULL there, and the
 * byte, counted from 1, that the error must name.
 */
#ifndef MP_TESTS_JSON_ROWS_H
#define MP_TESTS_JSON_ROWS_H

#include "core/base/slice.h"

struct json_row {
    struct mp_slice in;
    const char *out; /* NULL: refused */
    size_t at;       /* of the refusal */
    const char *why;
};

/* One literal, so that NUL bytes count. */
#define IN(text)                                                               \
    {                                                                          \
        (text), sizeof(text) - 1                                               \
    }
#define TAKE(text, out, why)                                                   \
    {                                                                          \
        IN(text), (out), 0, (why)                                              \
    }
#define SAME(text, why)                                                        \
    {                                                                          \
        IN(text), (text), 0, (why)                                             \
    }
#define NO(text, at, why)                                                      \
    {                                                                          \
        IN(text), NULL, (at), (why)                                            \
    }

#define X8(x) x x x x x x x x
#define X64(x) X8(X8(x))

static const struct json_row json_rows[] = {
    /* ---- what sensors send ---- */
    SAME("{\"hum\":48.2,\"temp\":31.4}", "the ordinary case"),
    TAKE("{\"temp\": 31.4, \"hum\": 48.2}", "{\"hum\":48.2,\"temp\":31.4}",
         "keys come out sorted, blanks go"),
    SAME("21.5", "a bare number is a document"),
    SAME("\"on\"", "so is a bare string"),
    SAME("true", "and a switch"),
    SAME("false", "both ways"),
    SAME("null", "and nothing"),
    TAKE("{\r\n  \"a\": [1, 2]\r\n}\r\n", "{\"a\":[1,2]}", "pretty-printed"),

    /* ---- white space ---- */
    TAKE(" \t\r\n1 \t\r\n", "1", "the four blanks, on both sides"),
    TAKE("[ ]", "[]", "inside an empty list"),
    TAKE("{ }", "{}", "inside an empty object"),
    TAKE("{ \"a\" : 1 , \"b\" : 2 }", "{\"a\":1,\"b\":2}", "at every joint"),
    NO("\f1", 1, "form feed is no blank"),
    NO("\v1", 1, "nor is vertical tab"),
    NO("1\xc2\xa0", 2, "nor a no-break space"),
    NO("[1,\xe2\x80\x83"
       "2]",
       4, "nor an em space"),
    NO("\xef\xbb\xbf"
       "1",
       1, "a byte order mark is no JSON"),
    NO("1\0", 2, "a NUL behind the value isn't the end"),
    NO("\0", 1, "a NUL alone"),

    /* ---- the end ---- */
    NO("", 1, "nothing at all"),
    NO(" ", 2, "nothing but blanks"),
    NO("1 2", 3, "two values"),
    NO("{}{}", 3, "two objects"),
    NO("[]]", 3, "one bracket too many"),
    NO("\"a\"\"b\"", 4, "two strings"),
    NO("nulltrue", 5, "two words"),
    NO("1,", 2, "a comma outside of everything"),
    NO(",1", 1, "a comma first"),
    NO(":", 1, "a colon alone"),
    NO("]", 1, "a bracket that closes nothing"),
    NO("}", 1, "a brace that closes nothing"),

    /* ---- words ---- */
    NO("True", 1, "words are lower case"),
    NO("NULL", 1, "all of them"),
    NO("tru", 1, "cut off"),
    NO("nul", 1, "cut off at the end of the text"),
    NO("falsy", 1, "wrong at the last letter"),
    NO("truest", 5, "a word that goes on"),
    NO("nil", 1, "Lua's word"),
    NO("undefined", 1, "JavaScript's word"),
    NO("NaN", 1, "not a number, indeed"),
    NO("Infinity", 1, "too large for JSON"),
    NO("-Infinity", 2, "with a sign, too"),
    NO("inf", 1, "as C prints it"),
    NO("temp", 1, "a bare name"),
    NO("'a'", 1, "single quotes"),

    /* ---- integers ---- */
    SAME("0", "zero"),
    TAKE("-0", "0", "the integer minus zero is zero"),
    SAME("-1", "a sign"),
    SAME("9007199254740993", "2^53 + 1: lost if it went through a double"),
    SAME("9223372036854775807", "the largest that fits"),
    SAME("-9223372036854775808", "the smallest that fits"),
    TAKE("9223372036854775808", "9.223372036854776e+18", "one past it"),
    TAKE("-9223372036854775809", "-9.223372036854776e+18", "one below it"),
    TAKE("18446744073709551616", "1.8446744073709552e+19", "2^64"),
    TAKE("99999999999999999999", "1e+20", "20 digits overflow 64 bits"),
    TAKE("100000000000000000000", "1e+20", "21 digits"),
    NO("01", 2, "a leading zero"),
    NO("00", 2, "two zeros"),
    NO("-01", 3, "behind a sign, too"),
    NO("+1", 1, "a plus sign"),
    NO("-", 2, "a sign alone"),
    NO("--1", 2, "two signs"),
    NO("- 1", 2, "a sign apart"),
    NO("0x10", 2, "hexadecimal"),
    NO("1_000", 2, "digits in groups"),
    NO("1a", 2, "a letter behind"),
    NO("\xd9\xa1", 1, "an Arabic digit"),

    /* ---- doubles ---- */
    SAME("1.0", "an integral double stays one"),
    SAME("-0.0", "minus zero stays minus zero"),
    SAME("0.1", "not exact, but it reads back"),
    TAKE("1.50", "1.5", "trailing zeros say nothing"),
    TAKE("1e2", "100.0", "an exponent makes a double"),
    TAKE("1E2", "100.0", "in upper case"),
    TAKE("1e+2", "100.0", "with a plus"),
    TAKE("1e-2", "0.01", "with a minus"),
    TAKE("1e-05", "1e-05", "zeros in front of an exponent are allowed"),
    TAKE("12.5e1", "125.0", "fraction and exponent"),
    TAKE("0e5", "0.0", "zero with an exponent"),
    TAKE("0.000001", "1e-06", "small"),
    SAME("31.444444444444443", "17 digits are needed here"),
    SAME("0.30000000000000004", "0.1 + 0.2"),
    SAME("52.5200066", "a coordinate"),
    SAME("123456789.123456", "15 digits"),
    TAKE("5e-324", "4.94065645841247e-324", "the smallest double"),
    SAME("2.2250738585072014e-308", "the smallest normal one"),
    SAME("1.7976931348623157e+308", "the largest"),
    TAKE("1e22", "1e+22", "the largest exact power of ten"),
    TAKE("1e23", "1e+23", "the first that isn't: the general way"),
    TAKE("9007199254740993.0", "9007199254740992.0",
         "half way between two doubles: to even"),
    TAKE("1e-400", "0.0", "below the smallest double"),
    TAKE("123456789012345678901234567890.5", "1.2345678901234568e+29",
         "more digits than a double has"),
    NO("1e400", 1, "past the largest double: it couldn't be written again"),
    NO("-1e400", 1, "on the other side, too"),
    NO("1.", 3, "a point needs digits behind"),
    NO(".5", 1, "and digits before"),
    NO("-.5", 2, "with a sign, too"),
    NO("1.e5", 3, "between point and exponent, too"),
    NO("1e", 3, "an exponent needs digits"),
    NO("1e+", 4, "behind its sign, too"),
    NO("1e+-1", 4, "one sign"),
    NO("1e1.5", 4, "an exponent is an integer"),
    NO("1.2.3", 4, "one point"),
    NO("1,5", 2, "a decimal comma"),
    NO("5.1f", 4, "C's suffix"),

    /* ---- strings ---- */
    SAME("\"\"", "empty"),
    SAME("\"a b\"", "a blank is a character"),
    SAME("\"12345678\"", "exactly one step of eight bytes"),
    SAME("\"1234567\"", "one less"),
    SAME("\"123456789abcdef\"", "one step and a rest"),
    SAME("\"\x7f\"", "DEL is no control byte for JSON"),
    SAME("\"'/\"", "neither quote nor slash of these needs an escape"),
    SAME("\"\\\"\\\\\\b\\f\\n\\r\\t\"", "the short escapes"),
    TAKE("\"\\/\"", "\"/\"", "a slash may be escaped"),
    TAKE("\"\\u0041\"", "\"A\"", "an escape that needs none"),
    TAKE("\"\\u00e9\\u00E9\"", "\"\xc3\xa9\xc3\xa9\"", "digits in both cases"),
    TAKE("\"\\u20ac\"", "\"\xe2\x82\xac\"", "three bytes of UTF-8"),
    TAKE("\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"", "a pair: four bytes"),
    TAKE("\"\\uD800\\uDC00\"", "\"\xf0\x90\x80\x80\"", "the first pair"),
    TAKE("\"\\uDBFF\\uDFFF\"", "\"\xf4\x8f\xbf\xbf\"", "the last pair"),
    SAME("\"\\u0000\"", "NUL is a character like any other"),
    SAME("\"\\u001f\"", "a control byte stays escaped"),
    TAKE("\"\\uffff\"", "\"\xef\xbf\xbf\"", "a noncharacter is no surrogate"),
    TAKE("\"\\\\u0041\"", "\"\\\\u0041\"", "an escaped backslash, then text"),
    TAKE("\"a\\nb\\nc\"", "\"a\\nb\\nc\"", "text between escapes"),
    TAKE("\"\\u2028\"", "\"\xe2\x80\xa8\"", "a line separator needs no escape"),
    NO("\"", 2, "a quote alone"),
    NO("\"abc", 5, "not closed"),
    NO("\"12345678", 10, "not closed after a step of eight"),
    NO("\"\\", 2, "cut off in an escape"),
    NO("\"\\\"", 4, "the closing quote is escaped"),
    NO("\"\\a\"", 2, "no such escape"),
    NO("\"\\'\"", 2, "JavaScript's escape"),
    NO("\"\\x41\"", 2, "C's escape"),
    NO("\"\\N\"", 2, "escapes are lower case"),
    NO("\"\\U0041\"", 2, "this one, too"),
    NO("\"\\\0\"", 2, "an escaped NUL"),
    NO("\"\\u\"", 2, "without digits"),
    NO("\"\\u12\"", 2, "two digits short"),
    NO("\"\\u123", 2, "cut off in the digits"),
    NO("\"\\u00g0\"", 2, "not a digit"),
    NO("\"\\u 041\"", 2, "a blank is no digit"),
    NO("\"\\u+041\"", 2, "nor is a sign"),
    NO("\"\\ud800\"", 2, "a high surrogate alone"),
    NO("\"\\ud800x\"", 2, "with something else behind"),
    NO("\"\\ud800\\n\"", 2, "with another escape behind"),
    NO("\"\\ud800\\u0041\"", 2, "with a character behind"),
    NO("\"\\ud800\\ud800\"", 2, "two high ones"),
    NO("\"\\ud83d\\ude0", 2, "a pair, cut off"),
    NO("\"\\udc00\"", 2, "a low surrogate alone"),
    NO("\"\\ude00\\ud83d\"", 2, "a pair, swapped"),
    NO("\"\\ud83d\\uffff\"", 2, "a high one with one past the low ones"),
    NO("\"\\udc00\\udc00\"", 2, "two low ones"),
    NO("\"123\x1f\x36\x37\x38 \"", 5, "a control byte within a step of eight"),
    NO("\"a\nb\"", 3, "a line feed must be escaped"),
    NO("\"\t\"", 2, "a tab, too"),
    NO("\"\x1f\"", 2, "the last control byte"),
    NO("\"a\0b\"", 3, "a NUL, too"),
    NO("\"1234567\0", 9, "in the last place of a step"),

    /* ---- UTF-8 ---- */
    SAME("\"\xc3\xa9\"", "two bytes"),
    SAME("\"\xe2\x82\xac\"", "three"),
    SAME("\"\xf0\x9f\x98\x80\"", "four"),
    SAME("\"\xc2\x80\xdf\xbf\"", "first and last of two"),
    SAME("\"\xe0\xa0\x80\xef\xbf\xbf\"", "first and last of three"),
    SAME("\"\xed\x9f\xbf\xee\x80\x80\"", "around the surrogates"),
    SAME("\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"", "first and last of four"),
    SAME("{\"\xc3\xa9\":1}", "in a name"),
    NO("\"\x80\"", 2, "a byte that continues nothing"),
    NO("\"\xff\"", 2, "never a byte of UTF-8"),
    NO("\"\xc3\"", 2, "cut off by the quote"),
    NO("\"\xc3", 2, "cut off by the end"),
    NO("\"\xe2\x82\"", 2, "one byte short"),
    NO("\"\xf0\x9f\x98", 2, "one byte short of four, at the end"),
    NO("\"\xc0\xaf\"", 2, "overlong slash in two"),
    NO("\"\xc1\xbf\"", 2, "overlong, the last such lead"),
    NO("\"\xe0\x9f\xbf\"", 2, "overlong in three"),
    NO("\"\xf0\x8f\xbf\xbf\"", 2, "overlong in four"),
    NO("\"\xed\xa0\x80\"", 2, "a surrogate as UTF-8"),
    NO("\"\xed\xbf\xbf\"", 2, "the last surrogate"),
    NO("\"\xf4\x90\x80\x80\"", 2, "one past U+10FFFF"),
    NO("\"\xf5\x80\x80\x80\"", 2, "a lead past all code points"),
    NO("\"ok\xe9\"", 4, "Latin-1"),
    NO("{\"\xe9\":1}", 3, "in a name, too"),
    NO("{\"a\":1}\xff", 8, "outside of strings"),

    /* ---- lists ---- */
    SAME("[]", "stays a list"),
    SAME("[1]", "one item"),
    SAME("[1,2,3,4,5,6,7,8]", "as many as wait on the stack"),
    SAME("[1,2,3,4,5,6,7,8,9]", "one more"),
    SAME("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]", "many more"),
    SAME("[null,1,null]", "null keeps its place"),
    SAME("[[],[[]],{}]", "lists and an object inside"),
    SAME("[1,1.0,\"1\",true,null]", "all kinds"),
    NO("[", 2, "cut off"),
    NO("[1", 3, "cut off behind an item"),
    NO("[1,", 4, "cut off behind a comma"),
    NO("[1,]", 4, "a trailing comma"),
    NO("[,1]", 2, "a leading comma"),
    NO("[,]", 2, "a comma alone"),
    NO("[1,,2]", 4, "two commas"),
    NO("[1 2]", 4, "no comma"),
    NO("[1;2]", 3, "a semicolon"),
    NO("[1:2]", 3, "a colon"),
    NO("[1}", 3, "closed by the wrong one"),
    NO("[\"a\":1]", 5, "a member outside an object"),
    NO("(1)", 1, "parentheses"),
    NO("[1,2", 5, "not closed"),

    /* ---- objects ---- */
    SAME("{}", "stays an object"),
    SAME("{\"\":1}", "the empty name"),
    SAME("{\"a\":{\"b\":{\"c\":[]}}}", "one in another"),
    TAKE("{\"b\":1,\"a\":2,\"B\":3}", "{\"B\":3,\"a\":2,\"b\":1}",
         "sorted by bytes: upper case first"),
    SAME("{\"a\":1,\"aa\":2,\"ab\":3}", "a name before those it begins"),
    SAME("{\"a\\u0000\":1,\"a\\u0000b\":2}", "NUL takes part in the order"),
    TAKE("{\"12345678b\":1,\"12345678a\":2,\"12345678\":3}",
         "{\"12345678\":3,\"12345678a\":2,\"12345678b\":1}",
         "names that differ behind the eighth byte"),
    TAKE("{\"a\":1,\"a\":2}", "{\"a\":2}", "of doubled names the last wins"),
    TAKE("{\"a\":1,\"b\":0,\"\\u0061\":2}", "{\"a\":2,\"b\":0}",
         "doubled by an escape"),
    TAKE("{\"a\":1,\"a\":null}", "{\"a\":null}", "null wins, too"),
    SAME("{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8}",
         "as many as wait on the stack"),
    SAME("{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,"
         "\"i\":9}",
         "one more"),
    TAKE("{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,"
         "\"i\":9,\"a\":0}",
         "{\"a\":0,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,"
         "\"i\":9}",
         "doubled after the table was made"),
    SAME("{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,"
         "\"i\":9,\"j\":0,\"k\":1,\"l\":2,\"m\":3,\"n\":4,\"o\":5,\"p\":6,"
         "\"q\":7,\"r\":8}",
         "more than the encoder keeps on the stack"),
    NO("{", 2, "cut off"),
    NO("{\"a\"", 5, "cut off behind a name"),
    NO("{\"a\":", 6, "cut off behind a colon"),
    NO("{\"a\":1", 7, "cut off behind a value"),
    NO("{\"a\":1,", 8, "cut off behind a comma"),
    NO("{\"a\":1,}", 8, "a trailing comma"),
    NO("{,\"a\":1}", 2, "a leading comma"),
    NO("{\"a\":1,,\"b\":2}", 8, "two commas"),
    NO("{\"a\":1 \"b\":2}", 8, "no comma"),
    NO("{\"a\" 1}", 6, "no colon"),
    NO("{\"a\",1}", 5, "a comma for a colon"),
    NO("{\"a\"=1}", 5, "Lua's sign"),
    NO("{\"a\"::1}", 6, "two colons"),
    NO("{\"a\":}", 6, "no value"),
    NO("{:1}", 2, "no name"),
    NO("{a:1}", 2, "a bare name"),
    NO("{'a':1}", 2, "single quotes"),
    NO("{1:1}", 2, "a number as a name"),
    NO("{null:1}", 2, "a word as a name"),
    NO("{[]:1}", 2, "a list as a name"),
    NO("{\"a\"}", 5, "a name alone"),
    NO("{\"a\":1]", 7, "closed by the wrong one"),
    NO("[{\"a\":1]]", 8, "the wrong one, deeper"),
    NO("{\"a\\x\":1}", 4, "a bad escape in a name"),

    /* ---- comments ---- */
    NO("// a\n1", 1, "of a line"),
    NO("1 // a", 3, "behind"),
    NO("/* a */ 1", 1, "of C"),
    NO("[1 /* a */]", 4, "inside"),
    NO("# a\n1", 1, "of a shell"),

    /* ---- depth ---- */
    SAME(X64("[") X64("]"), "64 lists"),
    NO(X64("[") "[]" X64("]"), 65, "65 lists"),
    NO(X64("[") "{}" X64("]"), 65, "64 lists and an object"),
    SAME(X8(X8("{\"a\":")) "1" X64("}"), "64 objects"),
    NO(X8(X8("{\"a\":")) "[]" X64("}"), 321, "64 objects and a list"),
    NO(X64("["), 65, "64 that aren't closed"),
    NO(X64("{\"a\":["), 193, "mixed: the bits of the stack alternate"),
    TAKE("[" X64("[],") "[]]", "[" X64("[],") "[]]", "many beside each other"),
    NO("[" X64("[],") "[}]", 195, "one of them is wrong"),

    /* ---- long ones ---- */
    SAME("\"" X64("0123456789abcdef") "\"", "a string of 1,024 bytes"),
    TAKE("\"" X64("\\u00e9") "\"", "\"" X64("\xc3\xa9") "\"",
         "an escape after the other"),
    SAME("\"" X64(X8("\xe2\x82\xac")) "\"", "1,536 bytes, none of them plain"),
    TAKE("0." X64("33333333") "333", "0.3333333333333333",
         "a number of 517 bytes"),
    NO("0." X64("3333333333333333"), 1, "a number of 1,026 bytes"),
};

#endif
