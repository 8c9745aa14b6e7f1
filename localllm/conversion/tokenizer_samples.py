"""A few hundred lines that tell tokenizers apart, written for this project.

They hold what the rules of pre-tokenizers decide about: contractions, digits, runs of spaces, line ends,
scripts with and without spaces, combining marks, emoji, code, punctuation, control characters and things that
look like special tokens but are none. They are the same in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

# some letters have no case, some carry combining marks
_WORDS = """
    hello World HTTPServer camelCaseJSON snake_case_name naïve Straße ŒUVRE ångström Привет
    ЁЛКА ελληνικά ΌΧΙ հայերեն ქართული 你好世界 こんにちは カタカナ 日本語テスト 안녕하세요
    ㅋㅋㅋ مرحبا مُحَمَّد שלום עִבְרִית नमस्ते हिन्दी বাংলা தமிழ் ไทยแลนด์ ខ្មែរ မြန်မာ አማርኛ
    Việt e\u0301te\u0301 n\u0303o Z͑ͫ̓a͌l ǅungla ʰəˈloʊ 𝓯𝓪𝓷𝓬𝔂 𐍈𐌰 ﬁne ＡＢＣ don't WE'LL they'Re
    I'd o'clock ’tis x86_64 2nd H2O B2B №5 ½ x² Ⅻ
"""
_MARKS = """
    ! ?! ... … -- — :: -> => !== && || <<= /* */ // #! $ € «» „“ 、 。 ！？ ، ؟ । \\ ~~ ^^ @ % § © ™ ° →
    ∑∞ ♥ █ 🚀 \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 🇪🇺🇯🇵 👍🏽 ✅
    ☃️ 🦙🦙🦙 1️⃣ (-_-) ¯\\_(ツ)_/¯ [x] {{y}} <b> `z` '''
"""
_GAPS = (
    *("", " ", "  ", "   ", "\t", " \t", "\n", "\n\n", "\r\n", " \n", "\n ", "\n\n\n\t", " " * 8),
    *("\u00a0", "\u3000", "\u200b"),
)
_NUMBERS = """
    0 12 345 6789 12345 999999 1234567890 3.14159 1,000,000 1e-9 0x1F 0b1010 2026-10-01 23:59:59 50%
    $9.99 v2.0.1-rc3 ١٢٣٤ १२३ １２３４ Ⅳ 7th 100km
"""
_LINES = (
    "It's a test; they're here, we've gone, I'd say you'll see what she's done and what he'd want.",
    "IT'S A TEST; THEY'RE HERE, WE'VE GONE, I'D SAY YOU'LL SEE, I'M SURE",
    "The quiet harbour kept its lights on until the last boat had come in from the rain.",
    "Das Übergrößenträgergesetz fiel; daß Füße schmerzen, weiß jeder Spaziergänger.",
    "L'été dernier, j'ai mangé une crème brûlée à l'hôtel près de l'île.",
    "El niño pidió más piña; ¿cuándo llegará mañana? ¡Qué lástima!",
    "Pchnąć w tę łódź jeża; zażółć gęślą jaźń i idź spać.",
    "Türkiye'de İstanbul'un ışıkları; ığdır, ŞİŞLİ, çiğköfte.",
    "Ночью над рекой стоял туман, и никто не видел, как лодка отошла от берега.",
    "Η θάλασσα ήταν ήρεμη κι ο ουρανός γαλάζιος.",
    "今天下午三点二十分，我们在图书馆门口见面，好不好？",
    "昨日は雨でしたが、今日はとても良い天気です。散歩に行きませんか？",
    "오늘은 날씨가 참 좋아서 공원에 산책하러 갔어요. 정말요?",
    "ذهبتُ إلى السوق يوم الخميس، واشتريت ثلاثة كيلوغرامات من التفاح.",
    "הלכתי לשוק ביום חמישי וקניתי שלושה קילו תפוחים.",
    "कल सुबह हम बाज़ार गए और तीन किलो सेब ख़रीदे।",
    "พรุ่งนี้เช้าเราจะไปตลาดซื้อผลไม้กัน",
    'def area(radius: float) -> float:\n    """Return πr²."""\n    return 3.14 * radius ** 2',
    "for (int i = 0; i < n; ++i) {\n\tif (a[i] != b[i]) return false;\n\t\tcount += i % 2;\n}\n\n\nreturn;",
    '#include <stdio.h>\r\nint main(void) { printf("%d\\n", 42); }\r\n',
    "SELECT name, COUNT(*) AS n FROM boats WHERE length >= 12.5 GROUP BY name;",
    '{"key": [1, 2.5, null, true], "nested": {"a\\"b": "\\u00e9"}}',
    "<div class=\"note\" id='n1'>5 &lt; 6 &amp; 7</div><!-- end -->",
    "$ grep -rn 'needle' ./src | sort -u > out.txt 2>&1 && echo \"$HOME/${USER}\"",
    'fn main() { let v: Vec<u8> = vec![0u8; 16]; println!("{:?}", &v[..4]); }',
    "\\begin{equation} \\sum_{i=1}^{n} x_i^2 \\leq \\frac{1}{2} \\end{equation}",
    "| a | b |\n|---|:-:|\n| 1 | `x` |\n\n- item **bold** _it_\n  1. sub\n> quote",
    "https://example.org/a/b_c?x=1&y=%20z#frag mailto:someone@example.com www.example.net:8080/",
    "C:\\Users\\me\\file.txt and /usr/local/bin/tool --flag=value -x",
    "0 00 000 0000 00000 1 22 333 4444 55555 666666 7777777 88888888",
    "1/2+3-4*5=6 7<8>9 10^11 12%13 x=y+1 a-b-c 1,2;3:4",
    "<|not_a_token|> <|im_middle|> <tool> </tool > [INST ] <<SYS <| |> <unk < s> [PAD] [MASK",
    "bell\x07 backspace\x08 escape\x1b[0m delete\x7f unit\x1f next\x85line width\u200d\u2060less \ufeffmark",
    "a\u0300\u0301 o\u0308\u0304 q\u0307\u0323 \u0301alone 각 각 ก็ ่ क्ष",
    "private \ue000\uf8ff unassigned \u0378 replacement \ufffd high \U000f0000 line\u2028para\u2029end",
    *("   leading", "trailing   ", "\ttab first", "tab last\t", "\nnewline first", "newline last\n"),
    *(" ", "  ", "\n", "\t\t", " " * 30 + "x", "\n" * 9 + "x", "\t" * 9 + "x"),
    *("a" * 40, "ab" * 30, "=" * 50, "-" * 33, "!?" * 20, "9" * 40, "哈" * 25, "😀" * 9),
)


@cache
def sample_lines() -> tuple[str, ...]:
    """Return the lines, without repetitions."""
    return tuple(dict.fromkeys((*_LINES, *_combinations())))


def _combinations() -> Iterator[str]:
    """Yield lines that put words, marks, numbers and gaps beside each other."""
    words, marks, numbers = _WORDS.split(), _MARKS.split(), _NUMBERS.split()
    for index, word in enumerate(words):
        mark, other = marks[index % len(marks)], marks[(7 * index + 3) % len(marks)]
        gap, wide = _GAPS[index % len(_GAPS)], _GAPS[(5 * index + 2) % len(_GAPS)]
        number, follower = numbers[index % len(numbers)], words[(11 * index + 5) % len(words)]
        yield f"{word}{gap}{follower}{mark}{number}"
        yield f"{mark}{word}{number}{wide}{other}{follower}"
        yield f"{word.upper()}{other} {word.title()}{gap}{number}{mark}{wide}"
    for index, gap in enumerate(_GAPS):
        number, word = numbers[(5 * index) % len(numbers)], words[(3 * index) % len(words)]
        yield f"{gap}{word}{gap}{gap}{number}{gap}"
        yield f"{number}{gap}{marks[index]}{gap}{word}"
    for index, number in enumerate(numbers):
        yield f"{number} {number}{marks[index]}{number}"
        yield f"x{number}y {words[index]}{number}"
    for index, mark in enumerate(marks):
        yield f"{mark} {mark}{mark}\n{mark}{words[-index]}{mark}"
