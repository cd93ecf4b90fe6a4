"""Short answers that only say to go on: "yes", "continue", "ok, go on", "2", "the second one".

They mean what the ask before them means, so they are not labelled for themselves. A text is one of them when it is
short and nothing is left of it once known phrases are taken out; a word that is not known ("yes, and prove it") makes
it an ask of its own, which costs a classification and nothing else. Case, accents, punctuation and emoji are ignored.

Languages: English, German, French, Spanish, Italian, Portuguese, Dutch, Swedish, Norwegian, Danish, Finnish, Polish,
Czech, Turkish, Russian, Ukrainian, Greek, Arabic, Hindi, Indonesian, Vietnamese, Japanese, Chinese, Korean.
"""

# ruff: noqa: RUF001  its words are written in many alphabets
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

LONGEST: Final = 60  # characters; "ok, thank you very much, please go ahead and continue" has 53

# Language by language, phrases parted by "|".
_PHRASES: Final = """
yes|yep|yeah|yup|y|no|nope|n|ok|okay|k|sure|sure thing|of course|certainly|absolutely|definitely|right|correct
exactly
agreed|fine|good|great|perfect|nice|cool|awesome|excellent|sounds good|looks good|looks good to me|lgtm|all good
that is fine|that's fine|that works|works for me|i agree|yes i do|go|go on|go ahead|go for it|and|keep going
carry on|continue|proceed|resume|next|next one|next step|then|what's next|more|some more|once more
again|one more|another|another one|tell me more|do it|do that|do so|do this|do them|do both|let's go|let's do it
let's do that|please|thanks|thank you|thanks a lot|thank you very much|thx|ty
try again|retry|ship it|approved|confirmed|confirm|accept|both|all|all of them|either|neither|none|why not
ja|jep|jo|nein|genau|gerne|klar|na klar|sicher|richtig|stimmt|passt|gut|sehr gut|prima|super|weiter|mach weiter
mach das|mach es|bitte|nur zu|los|leg los|weiter so|fortfahren|fahr fort|bitte weiter|und weiter
nachste|nächste|nächster|nächstes|mehr|noch mehr|noch mal|nochmal|noch eins|danke|vielen dank|einverstanden|beide
alle
oui|non|d'accord|bien sûr|c'est bon|ça marche|parfait|très bien|continue|continuez|vas y|allez y|allez|on continue
suivant|la suite|encore|plus|fais le|faites le|s'il te plaît|s'il vous plaît|merci|merci beaucoup|les deux|tous
sí|si|no|vale|claro|de acuerdo|perfecto|muy bien|bien|adelante|continúa|continúe|continuar|sigue|siga|prosigue
hazlo|hágalo|siguiente|más|otra vez|por favor|gracias|muchas gracias|ambos|ambas|todos|todas|dale
sì|certo|d'accordo|va bene|perfetto|bene|avanti|vai|vai avanti|continua|prosegui|procedi|fallo|prossimo|ancora
di più
per favore|grazie|grazie mille|entrambi|tutti
sim|não|nao|claro|certo|tudo bem|está bem|perfeito|ótimo|continue|continua|continuar|prossiga|prossegue|segue
pode continuar
faça isso|faz isso|vá em frente|próximo|mais|de novo|por favor|obrigado|obrigada|ambos|todos|beleza
ja|nee|oké|oke|prima|goed|zeker|natuurlijk|akkoord|ga door|ga verder|verder|doorgaan|doe maar|doe het|volgende|meer
nog een|opnieuw|alsjeblieft|alstublieft|graag|bedankt|dank je|dank u|allebei|allemaal
ja|nej|nei|jo|visst|självklart|okej|bra|jättebra|fortsätt|fortsett|fortsæt|kör|kör på|kjør|kjør på|gå vidare
gå videre
gör det|gjør det|gør det|nästa|neste|næste|mer|mere|mera|en till|en gang til|igen|igjen|tack|tack så mycket|takk|tak
mange takk|mange tak|snälla|vær så snill|begge|båda|selvfølgelig|fint|greit|perfekt
kyllä|joo|juu|ei|jatka|selvä|hyvä|seuraava|lisää|kiitos|tee se|ole hyvä|molemmat|kaikki
tak|nie|dobrze|dobra|jasne|oczywiście|zgoda|świetnie|super|kontynuuj|dalej|idź dalej|zrób to|następny|następne
więcej
jeszcze raz|proszę|dziękuję|dzięki|oba|obie|wszystkie
ano|jo|ne|dobře|jasně|samozřejmě|souhlasím|pokračuj|pokračujte|dál|dále|další|více|ještě|udělej to|prosím|děkuji
díky
evet|hayır|tamam|olur|tabii|tabii ki|elbette|peki|güzel|harika|devam|devam et|devam edin|devam edelim|yap|yap bunu
sonraki
daha fazla|bir daha|tekrar|lütfen|teşekkürler|teşekkür ederim|sağ ol|ikisi de|hepsi
да|нет|ага|ок|окей|хорошо|ладно|конечно|верно|точно|согласен|согласна|отлично|давай|давайте|продолжай|продолжайте
дальше|далее|сделай это|делай|следующий|следующее|ещё|ещё раз|больше|пожалуйста|спасибо|оба|все
так|ні|добре|гаразд|звичайно|згоден|згодна|чудово|продовжуй|продовжуйте|далі|зроби це|наступний|ще|ще раз
будь ласка|дякую|обидва|усі
ναι|όχι|εντάξει|οκ|βέβαια|σωστά|τέλεια|συνέχισε|συνεχίστε|προχώρα|επόμενο|περισσότερα|ξανά|παρακαλώ|ευχαριστώ
نعم|لا|حسنا|حسناً|تمام|طبعا|بالتأكيد|موافق|ممتاز|استمر|تابع|أكمل|واصل|التالي|المزيد|مرة أخرى|من فضلك|شكرا|شكرا لك
हाँ|हां|नहीं|ठीक है|ठीक|ज़रूर|बिल्कुल|जारी रखें|जारी रखो|आगे बढ़ो|आगे|अगला|और|फिर से|कृपया|धन्यवाद
ya|iya|tidak|baik|baiklah|tentu|setuju|bagus|lanjut|lanjutkan|teruskan|silakan|berikutnya|lagi|tolong|terima kasih
có|vâng|dạ|không|được|tất nhiên|đồng ý|tốt|tiếp|tiếp tục|tiếp đi|làm đi|nữa|làm ơn|cảm ơn
""".strip()
# Written without spaces between words: they may follow each other directly.
_UNSPACED: Final = """
はい|うん|ええ|いいえ|いや|オーケー|オッケー|了解|了解です|了解しました|分かりました|わかりました|いいです
いいですよ|いいですね
もちろん|続けて|続けてください|続けて下さい|続きを|続きをお願いします|続き|進めて|進めてください|次|次へ
次お願いします|もっと|もう一度
お願いします|お願い|やって|やってください|どうぞ|ありがとう|ありがとうございます|両方|全部|それで|それでお願いします
是|是的|对|对的|對|對的|不|不是|好|好的|好吧|行|可以|没问题|沒問題|当然|當然|同意|继续|繼續|请继续|請繼續|继续吧
接着说|接着
下一个|下一個|下一步|更多|再来|再來|再来一次|重试|請|请|做吧|开始吧|開始吧|谢谢|謝謝|都要|全部|嗯
네|예|응|아니요|아니|좋아|좋아요|알겠습니다|알겠어|그래|그래요|물론|물론이죠|맞아요|계속|계속해|계속해줘|계속해 줘
계속해주세요
계속해 주세요|진행해|진행해줘|진행해 주세요|진행해주세요|다음|더|다시|부탁해|부탁해요|부탁드립니다|해줘|해주세요
고마워|고마워요|감사합니다|둘 다|전부
👍|👌|✅|🙏
""".strip()
# One of the options that were offered: "2", "b", "option 3", "the second one".
_PICK: Final = (
    r"(?:(?:the|option|choice|number|nr|variante?|opcion|opcao|opzione|optie|opcja|вариант|secenek|numero|nummer) )*"
    r"(?:\d{1,2}|[a-h]|first|second|third|fourth|fifth|last|former|latter)"
)
_AGREEING: Final = frozenset("👍👌✅🙏")
# What keyboards write for an apostrophe, and the variation selector that makes a sign an emoji.
_LEFT_OUT: Final = dict.fromkeys(map(ord, "'`\N{RIGHT SINGLE QUOTATION MARK}\N{ACUTE ACCENT}\N{VARIATION SELECTOR-16}"))


def goes_on(text: str) -> bool:
    """Whether a person's text only says to go on, or picks one of the options that were offered."""
    short = text.strip()
    return len(short) <= LONGEST and _is_phrases(f"{_folded(short)} ")


def _is_phrases(folded: str) -> bool:
    """Whether a text is one phrase after the other, to its end.

    Phrases without spaces between them can be cut apart in many ways: from each place that is reached they are tried
    once, so that the work grows with the length of the text and not with the number of ways.
    """
    reached, waiting = {0}, [0]
    while waiting:
        at = waiting.pop()
        for end in _ends(folded, at):
            if end == len(folded):
                return True
            if end not in reached:
                reached.add(end)
                waiting.append(end)
    return False


def _ends(folded: str, at: int) -> Iterator[int]:
    """Where phrases end that begin at this place."""
    for phrase in _BY_LETTER.get(folded[at], ()):
        if folded.startswith(phrase, at):
            end = at + len(phrase)
            yield end
            if not phrase.endswith(" ") and folded.startswith(" ", end):
                yield end + 1
    for pick in _PICKS:
        if found := pick.match(folded, at):
            yield found.end()


def _folded(text: str) -> str:
    """Words without case, accents, punctuation and emoji, one space between them."""
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_LEFT_OUT))
    letters = "".join(map(_folded_character, plain))
    return " ".join(unicodedata.normalize("NFC", letters).split())


def _folded_character(character: str) -> str:
    kind = unicodedata.category(character)
    if unicodedata.combining(character) or kind in {"Sk", "Cf"}:  # accents, the colour of a hand, joiners
        return ""
    if kind.startswith("P") or (kind == "So" and character not in _AGREEING):
        return " "
    return character


def _phrases() -> Iterator[str]:
    """All phrases as `_folded` leaves them; those that end a word with the space after it."""
    for phrases, after in ((_PHRASES, " "), (_UNSPACED, "")):
        for line in phrases.splitlines():
            yield from (_folded(phrase) + after for phrase in line.split("|"))


def _by_letter() -> Mapping[str, tuple[str, ...]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for phrase in _phrases():
        found[phrase[0]].add(phrase)
    return {letter: tuple(phrases) for letter, phrases in found.items()}


_BY_LETTER: Final = _by_letter()
_PICKS: Final = (re.compile(f"{_PICK} "), re.compile(f"{_PICK} (?:one|option|choice) "))
