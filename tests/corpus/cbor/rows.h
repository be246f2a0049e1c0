/*
 * rows.h - CBOR in hex, what becomes of it, and why each is here.
 *
 * For tests/unit/test_lua_cbor.c and tests/fuzz/fuzz_cbor.c (seeds).  A row
 * that is taken says which value of Lua it is and how that is written again;
 * one that is refused has NULL there, and the byte, counted from 1, that the
 * error must name.
 */
#ifndef MP_TESTS_CBOR_ROWS_H
#define MP_TESTS_CBOR_ROWS_H

#include "core/base/slice.h"

struct cbor_row {
    const char *in;
    const char *lua; /* NULL: refused */
    const char *out; /* NULL: as in */
    size_t at;       /* of the refusal */
    const char *why;
};

#define SAME(in, lua, why)                                                     \
    {                                                                          \
        (in), (lua), NULL, 0, (why)                                            \
    }
#define TAKE(in, lua, out, why)                                                \
    {                                                                          \
        (in), (lua), (out), 0, (why)                                           \
    }
#define NO(in, at, why)                                                        \
    {                                                                          \
        (in), NULL, NULL, (at), (why)                                          \
    }

static const struct cbor_row cbor_rows[] = {

    /* ---- RFC 8949, appendix A: integers ---- */
    SAME("00", "0", "0"),
    SAME("01", "1", "1"),
    SAME("0a", "10", "10"),
    SAME("17", "23", "23"),
    SAME("1818", "24", "24"),
    SAME("1819", "25", "25"),
    SAME("1864", "100", "100"),
    SAME("1903e8", "1000", "1000"),
    SAME("1a000f4240", "1000000", "1000000"),
    SAME("1b000000e8d4a51000", "1000000000000", "1000000000000"),
    TAKE("1bffffffffffffffff", "0x1p64", "fa5f800000",
         "above 64 bits with a sign: a float"),
    TAKE("c249010000000000000000", "0x1p64", "fa5f800000",
         "one more, as a big integer"),
    TAKE("3bffffffffffffffff", "-0x1p64", "fadf800000", "below them"),
    TAKE("c349010000000000000000", "-0x1p64", "fadf800000", "one less"),
    SAME("20", "-1", "-1"),
    SAME("29", "-10", "-10"),
    SAME("3863", "-100", "-100"),
    SAME("3903e7", "-1000", "-1000"),

    /* ---- appendix A: floats ---- */
    SAME("f90000", "0.0", "0.0"),
    SAME("f98000", "-0.0", "-0.0"),
    SAME("f93c00", "1.0", "1.0"),
    SAME("fb3ff199999999999a", "1.1", "1.1"),
    SAME("f93e00", "1.5", "1.5"),
    SAME("f97bff", "65504.0", "65504.0"),
    SAME("fa47c35000", "100000.0", "100000.0"),
    SAME("fa7f7fffff", "3.4028234663852886e+38", "3.4028234663852886e+38"),
    SAME("fb7e37e43c8800759c", "1.0e+300", "1.0e+300"),
    SAME("f90001", "5.960464477539063e-8", "5.960464477539063e-8"),
    SAME("f90400", "0.00006103515625", "0.00006103515625"),
    SAME("f9c400", "-4.0", "-4.0"),
    SAME("fbc010666666666666", "-4.1", "-4.1"),
    SAME("f97c00", "1/0", "1/0"),
    SAME("f97e00", "0/0", "0/0"),
    SAME("f9fc00", "-1/0", "-1/0"),
    TAKE("fa7f800000", "1/0", "f97c00", "1/0, longer"),
    TAKE("fa7fc00000", "0/0", "f97e00", "0/0, longer"),
    TAKE("faff800000", "-1/0", "f9fc00", "-1/0, longer"),
    TAKE("fb7ff0000000000000", "1/0", "f97c00", "1/0, longer"),
    TAKE("fb7ff8000000000000", "0/0", "f97e00", "0/0, longer"),
    TAKE("fbfff0000000000000", "-1/0", "f9fc00", "-1/0, longer"),

    /* ---- appendix A: simple values, tags ---- */
    SAME("f4", "false", "false"),
    SAME("f5", "true", "true"),
    SAME("f6", "null", "null"),
    TAKE("f7", "null", "f6", "undefined is null"),
    NO("f0", 1, "simple(16) means nothing"),
    NO("f8ff", 1, "nor does simple(255)"),
    TAKE("c074323031332d30332d32315432303a30343a30305a", "1363896240",
         "1a514b67b0", "a date as text"),
    TAKE("c11a514b67b0", "1363896240", "1a514b67b0", "as seconds"),
    TAKE("c1fb41d452d9ec200000", "1363896240.5", "fb41d452d9ec200000",
         "with a fraction"),
    TAKE("d74401020304", "\"\\1\\2\\3\\4\"", "6401020304",
         "a tag for readers, passed over"),
    TAKE("d818456449455446", "\"dIETF\"", "656449455446",
         "CBOR within CBOR stays bytes"),
    TAKE("d82076687474703a2f2f7777772e6578616d706c652e636f6d",
         "\"http://www.example.com\"",
         "76687474703a2f2f7777772e6578616d706c652e636f6d", "a URI is a text"),

    /* ---- appendix A: strings ---- */
    TAKE("40", "\"\"", "60", "no bytes are an empty text"),
    TAKE("4401020304", "\"\\1\\2\\3\\4\"", "6401020304",
         "bytes that are UTF-8"),
    SAME("60", "\"\"", "text"),
    SAME("6161", "\"a\"", "text"),
    SAME("6449455446", "\"IETF\"", "text"),
    SAME("62225c", "\"\\\"\\\\\"", "text"),
    SAME("62c3bc", "\"\\u{fc}\"", "text"),
    SAME("63e6b0b4", "\"\\u{6c34}\"", "text"),
    SAME("64f0908591", "\"\\u{10151}\"", "text"),

    /* ---- appendix A: arrays and maps ---- */
    SAME("80", "array{}", "of definite length"),
    SAME("83010203", "{1,2,3}", "of definite length"),
    SAME("8301820203820405", "{1,{2,3},{4,5}}", "of definite length"),
    SAME("98190102030405060708090a0b0c0d0e0f101112131415161718181819",
         "{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25}",
         "of definite length"),
    SAME("a0", "{}", "of definite length"),
    SAME("a201020304", "{[1]=2,[3]=4}", "of definite length"),
    SAME("a26161016162820203", "{a=1,b={2,3}}", "of definite length"),
    SAME("826161a161626163", "{\"a\",{b=\"c\"}}", "of definite length"),
    SAME("a56161614161626142616361436164614461656145",
         "{a=\"A\",b=\"B\",c=\"C\",d=\"D\",e=\"E\"}", "of definite length"),
    TAKE("5f42010243030405ff", "\"\\1\\2\\3\\4\\5\"", "650102030405",
         "of indefinite length"),
    TAKE("7f657374726561646d696e67ff", "\"streaming\"", "6973747265616d696e67",
         "of indefinite length"),
    TAKE("9fff", "array{}", "80", "of indefinite length"),
    TAKE("9f018202039f0405ffff", "{1,{2,3},{4,5}}", "8301820203820405",
         "of indefinite length"),
    TAKE("9f01820203820405ff", "{1,{2,3},{4,5}}", "8301820203820405",
         "of indefinite length"),
    TAKE("83018202039f0405ff", "{1,{2,3},{4,5}}", "8301820203820405",
         "of indefinite length"),
    TAKE("83019f0203ff820405", "{1,{2,3},{4,5}}", "8301820203820405",
         "of indefinite length"),
    TAKE("9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff",
         "{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25}",
         "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
         "of indefinite length"),
    TAKE("bf61610161629f0203ffff", "{a=1,b={2,3}}", "a26161016162820203",
         "of indefinite length"),
    TAKE("826161bf61626163ff", "{\"a\",{b=\"c\"}}", "826161a161626163",
         "of indefinite length"),
    TAKE("bf6346756ef563416d7421ff", "{Fun=true,Amt=-2}",
         "a263416d74216346756ef5", "of indefinite length"),

    /* ---- what sensors send ---- */
    SAME("a26368756df952066474656d70f94fdb", "{hum=48.1875,temp=31.421875}",
         "halves"),
    TAKE("a26474656d70fa41fb33336368756dfa42413333",
         "{temp=31.399999618530273,hum=48.29999923706055}",
         "a26368756dfa424133336474656d70fa41fb3333",
         "singles; keys come out sorted"),
    SAME("a200f94e3b0118c8", "{[0]=24.921875,[1]=200}",
         "labels instead of names"),
    TAKE("d9d9f7a0", "{}", "a0", "a file that says it is CBOR"),
    TAKE("d9d9f7c100", "0", "00", "tags within tags: the innermost counts"),

    /* ---- integers, at the edges ---- */
    TAKE("1800", "0", "00", "longer than need be"),
    TAKE("1b0000000000000001", "1", "01", "eight bytes"),
    TAKE("3800", "-1", "20", "a negative one"),
    SAME("1b7fffffffffffffff", "math.maxinteger", "the largest"),
    SAME("3b7fffffffffffffff", "math.mininteger", "the smallest"),
    TAKE("1b8000000000000000", "0x1p63", "fa5f000000", "one more"),
    TAKE("3b8000000000000000", "-0x1p63", "fadf000000", "one less is a float"),
    SAME("18ff", "255", "one byte"),
    SAME("190100", "256", "two"),
    SAME("19ffff", "65535", "still two"),
    SAME("1a00010000", "65536", "four"),
    SAME("1affffffff", "4294967295", "still four"),
    SAME("1b0000000100000000", "4294967296", "eight"),
    SAME("38ff", "-256", "one byte"),
    SAME("390100", "-257", "two"),

    /* ---- floats, shortest ---- */
    TAKE("fb3ff0000000000000", "1.0", "f93c00", "a double that fits a half"),
    TAKE("fa00000000", "0.0", "f90000", "zero"),
    TAKE("fb8000000000000000", "-0.0", "f98000", "minus zero"),
    TAKE("fb3e70000000000000", "0x1p-24", "f90001", "the smallest half"),
    SAME("fa33000000", "0x1p-25", "half of it is a single"),
    TAKE("fb3f0ff80000000000", "0x3ffp-24", "f903ff",
         "the largest without a leading one"),
    SAME("fa477ff000", "65520.0", "just above the largest half"),
    SAME("fa3f801000", "0x1.002p0", "eleven bits and one"),
    SAME("fa00000001", "0x1p-149", "the smallest single"),
    SAME("fb3690000000000000", "0x1p-150", "half of it is a double"),
    SAME("fb47f0000000000000", "0x1p128", "above all singles"),
    SAME("fb0000000000000001", "0x0.0000000000001p-1022",
         "the smallest double"),
    TAKE("f97e01", "0/0", "f97e00", "one NaN stands for all"),
    TAKE("fbfff8000000000001", "0/0", "f97e00", "whatever is in it"),

    /* ---- strings ---- */
    SAME("42c328", "\"\\xc3\\x28\"", "bytes that are no text"),
    TAKE("5fff", "\"\"", "60", "no parts"),
    TAKE("7f60ff", "\"\"", "60", "an empty part"),
    TAKE("5f41c341bcff", "\"\\u{fc}\"", "62c3bc", "bytes may be cut anywhere"),
    NO("7f61c361bcff", 3, "texts may not"),
    NO("62c328", 2, "a text must be UTF-8"),
    NO("63eda080", 2, "surrogates are not"),
    NO("6361ff62", 3, "the first bad byte is told"),
    NO("5f6161ff", 2, "a text in bytes"),
    NO("7f4161ff", 2, "bytes in a text"),
    NO("5f5f4101ffff", 2, "parts have no parts"),
    NO("5f00ff", 2, "a number is no part"),
    NO("5f4101", 4, "no end"),
    NO("6261", 3, "cut off"),
    NO("5bffffffffffffffff00", 11, "longer than memory"),
    NO("7affffffff61", 7, "4 GiB"),
    SAME("7818616161616161616161616161616161616161616161616161",
         "(\"a\"):rep(24)", "a head of two bytes"),
    TAKE("78056162636465", "\"abcde\"", "656162636465", "longer than need be"),

    /* ---- keys ---- */
    TAKE("a2416101616102", "{a=2}", "a1616102",
         "bytes and text are one name; the last wins"),
    TAKE("a2616101616102", "{a=2}", "a1616102", "of doubled names too"),
    TAKE("bf7f6161ff01ff", "{a=1}", "a1616101", "a name in parts"),
    SAME("a5000118180218640320042905", "{[0]=1,[24]=2,[100]=3,[-1]=4,[-10]=5}",
         "integers: bytes order them"),
    SAME("a4616101617a02626161036361616104", "{a=1,z=2,aa=3,aaa=4}",
         "short names come first"),
    SAME("a341ff01617a0262616103", "{z=2,aa=3,[\"\\xff\"]=1}",
         "bytes come before texts"),
    SAME("a26001616102", "{a=2,[\"\"]=1}", "an empty name"),
    TAKE("a201020203", "{2,3}", "820203",
         "the keys 1 to n are an array in Lua"),
    NO("a1f501", 2, "a switch is no key"),
    NO("a1f93c0001", 2, "nor is a float"),
    NO("a1f601", 2, "nor null"),
    NO("a18001", 2, "nor an array"),
    NO("a1c10101", 2, "nor anything with a tag"),
    NO("a11bffffffffffffffff01", 2, "nor what has more than 64 bits"),
    NO("a13b800000000000000001", 2, "below them, too"),
    NO("bf00ff", 3, "a key without a value"),
    NO("a1ff00", 2, "an end for a key"),
    NO("a11f00", 2, "no integer"),
    NO("a13f00", 2, "of indefinite length"),

    /* ---- arrays and maps ---- */
    NO("8201", 3, "an item less"),
    NO("818201", 4, "within another"),
    NO("9fff00", 3, "one value too many"),
    NO("9f", 2, "no end"),
    NO("9f01", 3, "still none"),
    NO("bf", 2, "no end"),
    NO("bf6161", 4, "no value"),
    NO("a1", 2, "no pair"),
    NO("a16161", 4, "half of one"),
    NO("9bffffffffffffffff", 10, "more than there is memory"),
    NO("9affffffff00", 7, "more than there are bytes"),
    NO("bbffffffffffffffff", 10, "maps too"),
    NO("a2000000", 5, "a pair takes two bytes"),
    NO("ba7fffffff0000", 8, "and no less"),
    TAKE("9800", "array{}", "80", "longer than need be"),
    TAKE("b800", "{}", "a0", "a map"),
    SAME("818181818181818181818181818181818181818181818181818181818181818181818"
         "18181818181818181818181818181818181818181818181818181818180",
         "nest(63)", "64 levels"),
    TAKE("9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9"
         "f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f80ffffffffff"
         "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
         "fffffffffffffffffffffffffffffffffffffffffffffff",
         "nest(63)",
         "818181818181818181818181818181818181818181818181818181818181818181818"
         "18181818181818181818181818181818181818181818181818181818180",
         "64 without length"),
    NO("81818181818181818181818181818181818181818181818181818181818181818181818"
       "18181818181818181818181818181818181818181818181818181818180",
       65, "one too many"),
    NO("9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9"
       "f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f",
       65, "without length, too"),
    NO("a100a100a100a100a100a100a100a100a100a100a100a100a100a100a100a100a100a10"
       "0a100a100a100a100a100a100a100a100a100a100a100a100a100a100a100a100a100a1"
       "00a100a100a100a100a100a100a100a100a100a100a100a100a100a100a100a100a100a"
       "100a100a100a100a100a100a100a100a100a100a100a100",
       129, "maps count"),
    NO("c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c"
       "1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1"
       "c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c"
       "1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1"
       "c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c"
       "1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c180",
       201, "tags do not, and mean what they mean"),

    /* ---- simple values ---- */
    NO("e0", 1, "no meaning"),
    NO("f3", 1, "no meaning"),
    NO("f8", 2, "cut off"),
    NO("f800", 1, "no meaning"),
    NO("f814", 1, "no meaning"),
    NO("f818", 1, "no meaning"),
    NO("f820", 1, "no meaning"),
    NO("ff", 1, "an end without a beginning"),
    NO("81ff", 2, "of nothing"),
    NO("8201ff", 3, "too early"),
    NO("c1ff", 2, "behind a tag"),
    NO("1c00", 1, "reserved"),
    NO("1d00", 1, "reserved"),
    NO("1e00", 1, "reserved"),
    NO("1f00", 1, "reserved"),
    NO("3c00", 1, "reserved"),
    NO("3f00", 1, "reserved"),
    NO("5c00", 1, "reserved"),
    NO("7d00", 1, "reserved"),
    NO("9e00", 1, "reserved"),
    NO("bc00", 1, "reserved"),
    NO("dc00", 1, "reserved"),
    NO("df00", 1, "reserved"),
    NO("fc00", 1, "reserved"),
    NO("fd00", 1, "reserved"),
    NO("fe00", 1, "reserved"),
    NO("18", 2, "cut off"),
    NO("19ff", 3, "cut off"),
    NO("1affffff", 5, "cut off"),
    NO("1bffffffffffffff", 9, "cut off"),
    NO("f9", 2, "cut off"),
    NO("fa000000", 5, "cut off"),
    NO("fb00000000000000", 9, "cut off"),
    NO("", 1, "nothing at all"),
    NO("0000", 2, "two values"),
    NO("616100", 3, "a byte behind"),
    NO("c1", 2, "a tag of nothing"),
    NO("dac100", 4, "cut off"),

    /* ---- tags that mean something ---- */
    TAKE("c074313937302d30312d30315430303a30303a30305a", "0", "00",
         "the beginning"),
    TAKE("c076313937302d30312d30317430303a30303a30302e357a", "0.5", "f93800",
         "small letters, a fraction"),
    TAKE("c074313936392d31322d33315432333a35393a35395a", "-1", "20",
         "before it"),
    TAKE("c07819323030302d30322d32395431323a30303a30302b30313a3330",
         "951820200", "1a38bb9fa8", "east"),
    TAKE("c07819323030302d30322d32395431323a30303a30302d30313a3330",
         "951831000", "1a38bbc9d8", "west"),
    TAKE("c074303030302d30312d30315430303a30303a30305a", "-62167219200",
         "3b0000000e79747bff", "the first year"),
    TAKE("c074393939392d31322d33315432333a35393a36305a", "253402300800",
         "1b0000003afff44180", "the last, a second longer"),
    NO("c06a313937302d30312d3031", 2, "no time"),
    NO("c073313937302d30312d30315430303a30303a3030", 2, "no zone"),
    NO("c074313937302d31332d30315430303a30303a30305a", 2, "a 13th month"),
    NO("c074313937302d30302d30315430303a30303a30305a", 2, "no month"),
    NO("c074313937302d30322d32395430303a30303a30305a", 2, "no leap year"),
    NO("c074313930302d30322d32395430303a30303a30305a", 2, "nor this"),
    NO("c074313937302d30312d30305430303a30303a30305a", 2, "no day"),
    NO("c074313937302d30312d30315432343a30303a30305a", 2, "24 hours"),
    NO("c074313937302d30312d30315430303a36303a30305a", 2, "60 minutes"),
    NO("c074313937302d30312d30315430303a30303a36315a", 2, "61 seconds"),
    NO("c075313937302d30312d30315430303a30303a30302e5a", 2, "a dot alone"),
    NO("c07818313937302d30312d30315430303a30303a30302b313a3030", 2,
       "a short zone"),
    NO("c07819313937302d30312d30315430303a30303a30302b32343a3030", 2,
       "a zone of a day"),
    NO("c074313937302d30312d30312030303a30303a30305a", 2, "a blank"),
    NO("c074313937782d30312d30315430303a30303a30305a", 2, "a letter"),
    NO("c075313937302d30312d30315430303a30303a30305a5a", 2, "a letter more"),
    NO("c07819313937302d30312d30315430303a30303a30302b30312d3030", 2,
       "no colon"),
    NO("c000", 2, "a number is no date"),
    NO("c054313937302d30312d30315430303a30303a30305a", 2, "nor are bytes"),
    NO("c16161", 2, "a text is no number of seconds"),
    NO("c180", 2, "nor an array"),
    TAKE("c240", "0", "00", "a big integer without bytes"),
    TAKE("c2420001", "1", "01", "with zeros first"),
    TAKE("c340", "-1", "20", "minus one"),
    TAKE("c2487fffffffffffffff", "math.maxinteger", "1b7fffffffffffffff",
         "as large as ours"),
    TAKE("c3487fffffffffffffff", "math.mininteger", "3b7fffffffffffffff",
         "as small"),
    TAKE("c25f41014100ff", "256", "190100", "in parts"),
    TAKE("c24a00800000000000000000", "0x1p71", "fa63000000", "zeros first"),
    TAKE("c249ffffffffffffffffff", "0x1p72", "fa63800000", "rounded up"),
    TAKE("c349ffffffffffffffffff", "-0x1p72", "fae3800000",
         "all ones, and one more"),
    TAKE("c2498000000000000bffff", "0x1.0000000000001p71", "fb4460000000000001",
         "just below the middle of two doubles"),
    TAKE("c3498000000000000bffff", "-0x1.0000000000002p71",
         "fbc460000000000002", "one less, and it is the middle"),
    TAKE("c250ffffffffffffffffffffffffffffffff", "0x1p128",
         "fb47f0000000000000", "16 bytes"),
    NO("c25880fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
       "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
       "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
       "fffffffffffffffffffffffffffffffffffffffffffffffff",
       2, "past a double"),
    NO("c2588101000000000000000000000000000000000000000000000000000000000000000"
       "00000000000000000000000000000000000000000000000000000000000000000000000"
       "00000000000000000000000000000000000000000000000000000000000000000000000"
       "000000000000000000000000000000000000000000000000000",
       2, "more bytes than one has"),
    NO("c26101", 2, "a text is none"),
    NO("c201", 2, "nor a number"),
    TAKE("c48221196ab3", "273.15", "fb4071126666666666", "a decimal fraction"),
    TAKE("c4820103", "30.0", "f94f80", "thirty"),
    TAKE("c4822020", "-0.1", "fbbfb999999999999a", "negative"),
    TAKE("c48239ffff01", "0.0", "f90000", "far too small"),
    NO("c48219ffff01", 2, "far too large"),
    NO("c400", 2, "no array"),
    NO("c48101", 2, "of one"),
    NO("c483010203", 2, "of three"),
    NO("c482f93c0001", 2, "a float for an exponent"),
    NO("c48201f93c00", 2, "for an integer"),
    NO("c4821bffffffffffffffff01", 2, "beyond 64 bits"),
    NO("c4a0", 2, "a map"),
    TAKE("c5822003", "1.5", "f93e00", "a binary one"),
    TAKE("c5821903e801", "0x1p1000", "fb7e70000000000000", "large"),
    NO("c582190fff01", 2, "too large"),
    TAKE("c58239ffff01", "0.0", "f90000", "too small"),
    NO("c5821b7fffffffffffffff01", 2, "far too large"),
    TAKE("da7fffffff01", "1", "01", "a tag nobody knows"),
    TAKE("dbffffffffffffffff01", "1", "01", "the last one"),
};

#undef SAME
#undef TAKE
#undef NO

/* The bytes of a row's hex, into to; returns their number. */
static inline size_t cbor_unhex(const char *hex, char *to)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;

    for (; hex[2 * n] && hex[2 * n + 1]; n++)
        to[n] = (char)((strchr(digits, hex[2 * n]) - digits) << 4 |
                       (strchr(digits, hex[2 * n + 1]) - digits));
    return n;
}

#endif
