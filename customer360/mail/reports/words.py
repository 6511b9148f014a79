"""What mail servers and mail programs write, in English, German, French, Spanish, Italian, Portuguese, Dutch, Japanese, Russian."""

# ruff: noqa: E501 (patterns read better beside one another)

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Kind = Literal["hard", "soft"]


class Meaning(NamedTuple):
    """What a text says about an address: whether it is gone (hard) or could not be reached now (soft), in words, as a status."""

    kind: Kind
    reason: str
    status: str


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


FULL = Meaning("soft", "the mailbox is full", "5.2.2")
GONE = Meaning("hard", "there is no such mailbox", "5.1.1")
DISABLED = Meaning("hard", "the mailbox is closed", "5.2.1")
NO_DOMAIN = Meaning("hard", "the domain takes no mail", "5.1.2")
TOO_LARGE = Meaning("soft", "the message is too large for the mailbox", "5.3.4")
BLOCKED = Meaning("soft", "the server refuses the message or its sender, not the address", "5.7.1")
EXPIRED = Meaning("soft", "the server could not be reached for days", "4.4.7")
LOOPS = Meaning("soft", "the message went in circles between servers", "5.4.6")
BUSY = Meaning("soft", "the server asks to come back later", "4.3.0")

# The first that matches counts: what is no fault of the address stands before what is.
MEANINGS: tuple[tuple[re.Pattern[str], Meaning], ...] = (
    (
        _any(
            r"(mail ?)?(box|folder|account|user|recipient|inbox)('s)?( \S+){0,6} (is|are|was|has exceeded|exceeded|over|exceeds)"
            r"( \S+){0,3} (full|quota|storage|(disk|mailbox) space|allocat)",
            r"\b(over|exceed\w*( the)?|out of|disk|hit|beyond)[ -](\S+ )?quota|quota (is )?(exceed|full|violat|limit)|overdrawn .{0,20}quota",
            r"mailbox( is)? full|(mailbox|inbox) (size )?limit|insufficient (disk|system)? ?(space|storage)|not enough space",
            r"postfach (ist )?(voll|[uü]berf[uü]llt)|speicherplatz|bo[iî]te .{0,60}pleine|quota d.pass|buz[oó]n .{0,20}llen|"
            r"casella .{0,20}piena|caixa .{0,30}cheia|postvak .{0,20}vol\b|容量|メールボックス.{0,12}いっぱい|переполнен",
        ),
        FULL,
    ),
    (
        _any(
            r"(message|mail|e-mail|size).{0,40}(too (large|big)|exceeds?.{0,30}(limit|maximum|size))|size limit exceeded",
            r"message size|nachricht .{0,20}zu gro[sß]|trop volumineux|demasiado grande|troppo grande|te groot",
        ),
        TOO_LARGE,
    ),
    (_any(r"hop count|too many hops|mail loop|loop(s|ing)? (back|detected)|routing loop"), LOOPS),
    (
        _any(
            r"gr[ae]y-?list|try (again|later)|temporar(y|ily)|rate.?limit|too many (connections|messages|errors)",
            r"come back later|resources? (temporarily )?unavailable|deferred|service (not|un)available",
        ),
        BUSY,
    ),
    (
        _any(
            r"(user|mailbox|recipient|address|account|inbox|mail.?box|local part|person|employee).{0,40}"
            r"(unknown|not? (longer )?(exist|found|known|valid|listed|recogni|a valid|active|available|have an? account))",
            r"(unknown|no such|invalid|non-?exist\w*|nonexistent|bad destination|unrouteable|undeliverable) "
            r"(local.?part|user|mailbox|recipient|address|account|person|mail ?box)",
            r"(does|do|did) ?n[o']t (exist|have an? .{0,30}account|like recipient)|couldn't be found|could not be found|"
            r"wasn't found|was not found|address not found|no mailbox (here|by|with)|user doesn't|"
            r"isn't a valid|not (our|a) customer|unknown (or illegal )?(alias|user)|recipnotfound|user not listed|"
            r"address rejected|recipient rejected|not a known user|no longer (with|works|in use)|is not listed in",
            r"(unbekannt|existiert nicht|nicht gefunden|ung.ltige? (empf.nger|adresse)|konnte nicht gefunden)",
            r"n.existe pas|introuvable|inconnu|adresse .{0,20}invalide|destinataire .{0,40}(inconnu|pas trouv)",
            r"no existe|desconocid|no se (ha )?(encontr|pudo encontrar)|non esiste|sconosciut|non .{0,20}trovat",
            r"n[aã]o existe|desconhecid|n[aã]o (foi )?encontrad|onbekend|bestaat niet|niet gevonden",
            r"見つかりません|存在しません|リストにありません|宛先.{0,12}不明|не существует|не найден|неизвест",
        ),
        GONE,
    ),
    (
        _any(
            r"(mailbox|account|user|recipient|address).{0,40}(disabled|inactive|suspended|closed|deactivated|locked|expired|"
            r"discontinued|terminated|blocked for inactivity|not accepting|abandoned)",
            r"(disabled|inactive|deactivated|suspended) (mailbox|account|user|recipient)|konto .{0,20}(gesperrt|deaktiviert)",
        ),
        DISABLED,
    ),
    (
        _any(
            r"(host|domain|name service|dns)( name)?.{0,40}(not found|unknown|does not exist|lookup fail|no mail server|invalid)",
            r"nxdomain|invalid domain|null ?mx|unrouteable (mail )?domain|no (route|mx|mail exchanger)|couldn't find any host|"
            r"host or domain name not found|no such (host|domain)|unknown host|doma[ií]n.{0,20}(introuvable|no existe)|"
            r"relay(ing)? (access )?denied|not permitted to relay",
        ),
        NO_DOMAIN,
    ),
    (
        _any(
            r"spam|blacklist|block ?list|blocked|spamhaus|reputation|policy|dmarc|\bspf\b|dkim|unauthenticated|authenticat|"
            r"not authori[sz]ed|access denied|virus|content|refused|prohibited|denied|unsolicited|reject(ed)? (by|for|due|as)|"
            r"use the smtp server of your isp|abgelehnt|verweigert|refus[ée]|rechazad|rifiutat|geweigerd",
        ),
        BLOCKED,
    ),
    (
        _any(
            r"(retry )?time-?out exceeded|delivery (time ?(out|expired)|has been attempted)|(message|queue|delivery) .{0,30}expired|"
            r"for too long|not? (be )?(reached|responding|respond|answer)|connection (refused|timed|lost|reset)|unreachable|"
            r"(unable|failed|can't|cannot|could ?n.t) .{0,20}connect|bounced after|could not be (reached|contacted)|"
            r"giv(e|ing|en) up|kept .{0,20}queue|nicht erreich|no route to host",
        ),
        EXPIRED,
    ),
)

FAILURE = _any(
    r"(mail|message|e-?mail|delivery|nachricht|following address|address\(?e?s?\)?|recipient\(?s?\)?).{0,60}"
    r"(fail|could ?n.t be (sent|delivered)|could not be (sent|delivered)|undeliver|was ?n.t delivered|not delivered|error|rejected|"
    r"return|bounce|were affected|did not reach|has not been delivered|blocked|problem)",
    r"undeliver|unable to deliver|(was|wasn.t|were|not) (un)?able to (be )?deliver|failure (notice|reason)|non.?delivery|"
    r"returned (mail|to sender|message)|permanent(ly)? (error|fail)|did not reach|delivery has failed|delivery errors|"
    r"couldn't deliver|could not deliver|can ?not (be )?deliver|bounced? (mail|message)|unknown user|user unknown|failed recipient|"
    r"invalid (user )?(address|recipient)|no such (user|mailbox)",
    r"unzustellbar|nicht zugestellt|zustellung.{0,40}(fehl|nicht m.glich|gescheitert)|unzustellbarkeit|konnte nicht .{0,40}gestellt",
    r"non remis|n.a pas pu .tre (remis|distribu)|[ée]chec (de|d.)|non distribu|remise .{0,20}impossible",
    r"no (se )?(ha )?(pudo|podido) (ser )?(entreg|envi)|no entregad|devuelto|error (de|en la) entrega|entrega .{0,30}(fall|error)",
    r"(mancato|impossibile) (il )?recapit|recapito non riuscito|non (è stato|e' stato) .{0,20}(consegn|recapit)|mancata consegna",
    r"n[aã]o (foi|p[oô]de) .{0,10}entreg|falha na entrega|n[aã]o entregue|onbestelbaar|niet (be|af)geleverd|bezorg.{0,30}mislukt",
    r"配信.{0,12}(不能|エラー|失敗|できません)|送信できません|不達|届きません|не (может быть |была |удалось )?достав|недоставл|возвращ",
)

DELAYED = _any(
    r"delay(ed)?\b|not yet been delivered|still (being )?(tr|attempt)|will (continue|keep|be) (to )?(try|retr)|no action is required|"
    r"this is (only )?a warning|warning: (could not|message)|incomplete\)|do not need to resend|delivery incomplete|"
    r"verz[öo]ger|noch nicht zugestellt|retard[ée]?|retrasad|ritard|vertraag|attas[ao]|遅延|задерж|"
    r"gr[ae]y-?list(ed|ing).{0,80}(will|again|later|retry)",
)

AUTO_REPLY = _any(
    r"out of (the )?office|automatic(ally)? (reply|response|generated (reply|response))|auto[- ]?(reply|response|responder|antwort)|"
    r"autoreply|on (vacation|holiday|leave)|vacation (reply|notice)|away from (the |my )?(office|desk|mail)|currently (away|abroad)|"
    r"abwesen(d|heit)|automatische antwort|im urlaub|nicht im (b[üu]ro|hause)|r[ée]ponse automatique|absen(t|ce) du bureau|"
    r"respuesta autom|fuera de la oficina|risposta automatica|fuori (sede|ufficio)|resposta autom|ausente|automatisch antwoord|"
    r"afwezig|自動(返信|応答)|автоответ|fr[åa]nvaro|autosvar|thank you for (contacting|your (e-?mail|message|inquiry))|"
    r"we have received your|ticket .{0,20}(created|received|opened)",
)

CHALLENGE = _any(
    r"(confirm|verify|prove|authenticate).{0,60}(you are (a )?(human|person|real)|your (message|e-?mail|address)|yourself|sender)|"
    r"challenge|spam ?arrest|boxtrapper|tmda|(click|reply|respond).{0,80}(so that|to have|to release|to deliver).{0,40}(message|mail)|"
    r"(message|mail) .{0,40}(held|waiting|quarantined?).{0,60}(until|confirm|verif|approv|reply)|not (on|in) my (white|allow).?list|"
    r"sender verification|best[äa]tigen sie.{0,60}(absender|nachricht)",
)
DAEMON = _any(
    r"mailer-?daemon|^[^@]*\bpost[-_]?master|mail delivery (sub)?system|mdaemon|^\s*<?>?\s*$|bounces?@|microsoftexchange|mail administrator",
)

GIVES_UP = _any(r"giv(en|ing|e) up|permanent|no further|will not (continue|be retried)|fatal|retry time-?out")
