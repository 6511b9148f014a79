"""Answers to one mail, in the formats of many servers and mail programs; texts of our own in the form that each of them writes.

The formats follow what the issue trackers and test sets of bounce parsers describe (flufl.bounce, Sisimai, listmonk, Mautic,
Dada Mail, MailBounceDetector, CwsMailBounceHandler, node-bounce-handler).
"""

# ruff: noqa: E501, PLR0917 (texts as servers write them)

from __future__ import annotations

import base64
from typing import NamedTuple

from customer360.mail.return_paths import message_id, return_path, unsubscribe_address

SECRET = "s" * 40
KEY = "4f1c0a9be2d34f1c0a9b4f1c0a9be2d3"
VERP = return_path(SECRET, KEY, "bounces.shop.example")
MESSAGE_ID = message_id(SECRET, KEY, "shop.example")
UNSUBSCRIBE = unsubscribe_address(SECRET, KEY, "unsubscribe@shop.example")
WHO = "ada.lovelace@inbox.example"

ORIGINAL = f"""Return-Path: <{VERP}>
Received: from mail.shop.example (mail.shop.example [192.0.2.7]) by mx.inbox.example; Mon, 4 May 2026 10:00:00 +0000
Message-ID: {MESSAGE_ID}
From: The shop <news@shop.example>
To: {WHO}
Subject: New in May
List-Unsubscribe: <mailto:{UNSUBSCRIBE}>, <https://shop.example/m/u/x>

Dear Ada, our offers. Your account is not disabled. Unsubscribe here.
"""


class Answer(NamedTuple):
    """An answer and what it says."""

    name: str
    kind: str
    content: bytes
    reason: str = ""


def plain(name, kind, sender, subject, body, reason="", *, original=True, more="", to=VERP, path="<>"):
    """An answer that is text alone."""
    head = f"Return-Path: {path}\nFrom: {sender}\nTo: {to}\nSubject: {subject}\nDate: Mon, 4 May 2026 10:01:00 +0000\n{more}\n"
    return Answer(name, kind, (head + body + (f"\n{ORIGINAL}" if original else "")).encode(), reason)


def notification(name, kind, sender, subject, text, fields, reason="", *, more="", status_type="message/delivery-status"):
    """A delivery status notification."""
    return Answer(
        name,
        kind,
        f"""Return-Path: <>
From: {sender}
To: {VERP}
Subject: {subject}
{more}MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"

--=_b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

{text}

--=_b
Content-Type: {status_type}

Reporting-MTA: dns; mx.inbox.example

{fields}

--=_b
Content-Type: message/rfc822

{ORIGINAL}
--=_b--
""".encode(),
        reason,
    )


def fields(status, diagnostic, action="failed"):
    """The group of a recipient."""
    return f"Final-Recipient: rfc822; {WHO}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: {diagnostic}"


def feedback(name, kind, feedback_type, reason="", more=""):
    """A report by RFC 5965."""
    return Answer(
        name,
        kind,
        f"""From: feedback@inbox.example
To: abuse@shop.example
Subject: FW: New in May
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="=_f"

--=_f
Content-Type: text/plain

This is an email abuse report for an email message received from 192.0.2.7.

--=_f
Content-Type: message/feedback-report

Feedback-Type: {feedback_type}
User-Agent: Example-FBL/1.0
Version: 1
{more}
--=_f
Content-Type: message/rfc822

{ORIGINAL}
--=_f--
""".encode(),
        reason,
    )


DAEMON = "Mail Delivery System <MAILER-DAEMON@mx.inbox.example>"
GONE, FULL, BLOCKED = (
    "there is no such mailbox",
    "the mailbox is full",
    "the server refuses the message or its sender, not the address",
)
BOUNCES = [
    notification(
        *("postfix", "hard", DAEMON, "Undelivered Mail Returned to Sender"),
        f"This is the mail system at host mx.inbox.example.\n\nI'm sorry to have to inform you that your message could not\nbe "
        f"delivered to one or more recipients.\n\n<{WHO}>: host mx.inbox.example[192.0.2.9] said: 550 5.1.1\n  User unknown",
        fields("5.1.1", f"smtp; 550 5.1.1 <{WHO}>: Recipient address rejected: User unknown in virtual mailbox table"),
        GONE,
    ),
    notification(
        *("postfix, over quota", "soft", DAEMON, "Undelivered Mail Returned to Sender", "could not be delivered"),
        fields("5.2.2", "smtp; 552 5.2.2 The email account that you tried to reach is over quota"),
        FULL,
    ),
    notification(
        *("gmail", "hard", "Mail Delivery Subsystem <mailer-daemon@googlemail.com>", "Delivery Status Notification (Failure)"),
        f"** Address not found **\n\nYour message wasn't delivered to {WHO} because the address couldn't be found.",
        fields("5.1.1", "smtp; 550-5.1.1 The email account that you tried to reach does not exist."),
        GONE,
    ),
    notification(
        *(
            "gmail, rate limited",
            "soft",
            "Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
            "Delivery Status Notification (Failure)",
        ),
        f"There was a problem delivering your message to {WHO}.",
        fields("4.7.28", "smtp; 421-4.7.28 Gmail has detected an unusual rate of unsolicited mail"),
    ),
    notification(
        *(
            "gmail, dmarc",
            "soft",
            "Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
            "Delivery Status Notification (Failure)",
            "",
        ),
        fields(
            "5.7.26", "smtp; 550-5.7.26 Unauthenticated email from shop.example is not accepted due to domain's DMARC policy."
        ),
        BLOCKED,
    ),
    notification(
        *("exchange online, german", "hard", "Microsoft Outlook <postmaster@inbox.example>", "Unzustellbar: New in May"),
        f"Ihre Nachricht an {WHO} konnte nicht zugestellt werden.\nada.lovelace wurde in inbox.example nicht gefunden.",
        fields("5.1.10", "smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
        GONE,
    ),
    notification(
        *(
            "exchange online, access denied",
            "hard",
            "postmaster@outlook.com",
            "Undeliverable: New in May",
            "Delivery has failed",
        ),
        fields("5.4.1", "smtp;550 5.4.1 Recipient address rejected: Access denied. [AM1.eop.prod.protection.outlook.com]"),
        GONE,
    ),
    notification(
        *("outlook.com, blocked", "soft", "postmaster@outlook.com", "Undeliverable: New in May", "Delivery has failed"),
        fields(
            "5.7.1",
            "smtp;550 5.7.1 Unfortunately, messages from [192.0.2.7] weren't sent. Part of their network is on our block list",
        ),
        BLOCKED,
    ),
    notification(
        *(
            "sendmail",
            "hard",
            DAEMON,
            "Returned mail: see transcript for details",
            "   ----- Transcript of session follows -----",
        ),
        fields("5.4.4", "DNS; Host not found"),
        "the domain takes no mail",
    ),
    notification(
        *("5.0.0 in the field", "hard", DAEMON, "Returned mail: User unknown", "could not be delivered"),
        fields("5.0.0", f"smtp; 550 5.1.1 <{WHO}>... User Unknown"),
        GONE,
    ),
    notification(
        *("powermta", "hard", "postmaster@mail81.example", "Delivery report", "delivery failed; will not continue trying"),
        fields("5.2.1 (mailbox disabled, not accepting messages)", "smtp;550 5.2.1 user disabled"),
        "the mailbox is closed",
    ),
    notification(
        *("amazon ses, general", "hard", "MAILER-DAEMON@amazonses.com", "Delivery Status Notification (Failure)"),
        f"An error occurred while trying to deliver the mail to the following recipients:\n{WHO}",
        fields("5.4.4", "smtp; 550 5.4.4 Invalid domain"),
        "the domain takes no mail",
    ),
    notification(
        *("seven days", "soft", DAEMON, "Undelivered Mail Returned to Sender", "could not be delivered for more than 5 days"),
        fields("4.4.1", "X-Postfix; connect to mx.inbox.example[192.0.2.9]:25: Connection timed out"),
    ),
    notification(
        *("international address", "hard", DAEMON, "Undelivered Mail Returned to Sender", "could not be delivered"),
        "Final-Recipient: utf-8; ada@inbox.example\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 unknown user",
        GONE,
        status_type="message/global-delivery-status",
    ),
    plain(
        *("qmail", "hard", "MAILER-DAEMON@mx.inbox.example", "failure notice"),
        "Hi. This is the qmail-send program at mx.inbox.example.\nI'm afraid I wasn't able to deliver your message to the following "
        "addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n"
        f"<{WHO}>:\n192.0.2.9 does not like recipient.\nRemote host said: 550 5.1.1 <{WHO}>... User Unknown\nGiving up on 192.0.2.9.\n\n"
        "--- Below this line is a copy of the message.\n",
        GONE,
    ),
    plain(
        *("qmail, no code", "hard", "MAILER-DAEMON@mx.inbox.example", "failure notice"),
        f"Hi. This is the qmail-send program at mx.inbox.example.\nI'm afraid I wasn't able to deliver your message.\n\n<{WHO}>:\n"
        "Sorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is a copy of the message.\n",
        GONE,
    ),
    plain(
        *("qmail, old Mac line ends", "hard", "MAILER-DAEMON@yahoo.example", "Failure Notice"),
        f"Sorry, we were unable to deliver your message to the following address.\n\n<{WHO}>:\nRemote host said: 554 delivery error: "
        "dd This user doesn't have a yahoo.example account\n\n--- Below this line is a copy of the message.\n",
        GONE,
    ),
    plain(
        *(
            "exim",
            "soft",
            "Mail Delivery System <Mailer-Daemon@mx.inbox.example>",
            "Mail delivery failed: returning message to sender",
        ),
        "This message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered to one or "
        f"more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  {WHO}\n    SMTP error from remote "
        "mail server after MAIL FROM:<b@shop.example>:\n    host mx [192.0.2.20]: 550 5.7.0 Please use the smtp server of your ISP.\n\n"
        "------ This is a copy of the message, including all the headers. ------\n",
        BLOCKED,
        more=f"X-Failed-Recipients: {WHO}\nAuto-Submitted: auto-replied\n",
    ),
    plain(
        *(
            "exim, unrouteable",
            "hard",
            "Mail Delivery System <Mailer-Daemon@mx.inbox.example>",
            "Mail delivery failed: returning message to sender",
        ),
        f"The following address(es) failed:\n\n  {WHO}\n    Unrouteable address\n\n"
        "------ This is a copy of the message, including all the headers. ------\n",
        GONE,
        more=f"X-Failed-Recipients: {WHO}\nAuto-Submitted: auto-replied\n",
    ),
    plain(
        *("gmx", "soft", "MAILER-DAEMON@mail.gmx.example", "Mail delivery failed: returning message to sender"),
        f"A message that you sent could not be delivered to one or more of\nits recipients. The following address\nfailed:\n\n<{WHO}>\n\n"
        "Reason:\ndelivery retry timeout exceeded\n\n--- The header of the original message is following. ---\n",
        "the server could not be reached for days",
    ),
    plain(
        *(
            "1&1, too large",
            "soft",
            '"Mail Delivery System" <mailer-daemon@kundenserver.example>',
            "Mail delivery failed: returning message to sender",
        ),
        f"The following address failed:\n\n{WHO}\n\nFor the following reason:\n\nMail size limit exceeded. For explanation visit\n"
        "http://postmaster.example/en/error-messages\n\n--- The header of the original message is following. ---\n",
        "the message is too large for the mailbox",
    ),
    plain(
        *("lotus notes", "hard", "postmaster@n.inbox.example", "Undeliverable message"),
        f"------- Failure Reasons  --------\n\nUser not listed in public Name & Address Book\n{WHO}\n\n------- Returned Message --------\n",
        GONE,
    ),
    plain(
        *("lotus notes, japanese", "hard", "postmaster@n.inbox.example", "Undeliverable message"),
        f"------- Failure Reasons  --------\n\nディレクトリのリストにありません\n{WHO}\n\n------- Returned Message --------\n",
        GONE,
    ),
    plain(
        *("exchange 5.5", "hard", "postmaster@inbox.example", "Undeliverable: New in May"),
        f"Your message\n\n  To:      {WHO}\n  Subject: New in May\n\ndid not reach the following recipient(s):\n\n{WHO} on Mon, 4 May 2026\n"
        "    The recipient name is not recognized\n\tMSEXCH:IMS:EXAMPLE:EXCHANGE 0 (000C05A6) Unknown Recipient\n",
        GONE,
        more="X-Mailer: Internet Mail Service (5.5.2657.72)\n",
    ),
    plain(
        *("imail", "hard", '"Postmaster" <postmaster@inbox.example>', "Undeliverable Mail"),
        f"Unknown user: {WHO}\n\n\nOriginal message follows.\n",
        GONE,
        path="<postmaster@inbox.example>",
    ),
    plain(
        *("mailmarshal", "hard", "postmaster@relay.inbox.example", 'Undeliverable Mail: "New in May"'),
        "Your message:\n   From:    news@shop.example\n   Subject: New in May\n\nCould not be delivered because of\n\n550 5.1.1 User unknown"
        f"\n\nThe following recipients were affected: \n    {WHO}\n\nAdditional Information\n",
        GONE,
    ),
    plain(
        *("dragonfly", "soft", "MAILER-DAEMON <>", "Mail delivery failed"),
        f"This is the DragonFly Mail Agent v0.13 at df.example.\n\nThere was an error delivering your mail to <{WHO}>.\n\n"
        "mx [192.0.2.27] did not like our final DATA:\n550-5.7.26 Unauthenticated email is not accepted due to domain's\n"
        "550-5.7.26 DMARC policy.\n\nMessage headers follow.\n",
        BLOCKED,
    ),
    plain(
        *("merak", "hard", "postmaster@relay.example", "Message could not be delivered"),
        f"Could not deliver message to the following recipient(s):\n\nFailed Recipient: {WHO}\nReason: Remote host said: 550 5.1.1 The "
        "email account that you tried to reach does not exist.\n\n   -- The header and top 20 lines of the message follows --\n",
        GONE,
    ),
    plain(
        *("mailfoundry", "hard", "MAILER-DAEMON@filter.example", "Message delivery has failed"),
        f"Unable to deliver message to: <{WHO}>\nDelivery failed for the following reason:\nServer mx[192.0.2.222] failed with: 550 "
        f"<{WHO}> No such user here\n\nThis has been a permanent failure.  No further delivery attempts will be made.\n",
        GONE,
    ),
    plain(
        *("openmail", "hard", '"Mail Deliver System" <MAILER-DAEMON@relay.example>', "Returned Mail: User unknown"),
        f"The original message was received at Mon, 4 May 2026\n\n---The following addresses had delivery errors---\n\n{WHO} [User unknown]\n",
        GONE,
    ),
    plain(
        *("full mailbox, french", "soft", "postmaster@boite.example", "Échec de la remise"),
        f"Votre message n'a pas pu être remis à {WHO} : la boîte aux lettres du destinataire est pleine.\n",
        FULL,
    ),
    plain(
        *("unknown, spanish", "hard", "postmaster@correo.example", "No se pudo entregar el mensaje"),
        f"Su mensaje no ha podido ser entregado.\n{WHO}: el usuario no existe.\n",
        GONE,
    ),
    plain(
        *("unknown, german", "hard", "Postmaster <postmaster@post.example>", "Nachricht unzustellbar"),
        f"Ihre Nachricht konnte nicht zugestellt werden:\n{WHO}: Benutzer unbekannt\n",
        GONE,
    ),
    plain(
        *("full, italian", "soft", "postmaster@posta.example", "Mancata consegna"),
        f"Impossibile recapitare il messaggio a {WHO}: la casella di posta è piena.\n",
        FULL,
    ),
    plain(
        *("aol, suspended", "hard", "MAILER-DAEMON@aol.example", "Mail delivery failed"),
        f"Your mail to <{WHO}> was not delivered: the account has been suspended or disabled.\n",
        "the mailbox is closed",
    ),
    plain(
        *("m-filter, japanese", "hard", "POSTMASTER <postmaster@filter.example>", "failure notice"),
        f"このメールは送信できませんでした。\n以下のメールアドレスへの送信に失敗しました。\n{WHO}\n\n-------server message\n550 unknown user <{WHO}>\n\n"
        "-------SMTP command\nDATA\n\n-------original message\n",
        GONE,
    ),
    plain(
        *("james, an answer to the mail", "hard", "post_master@text.example", "Re:New in May"),
        "Error: Invalid user address\n\nError message below:\n550 - Requested action not taken: no such user here\n\nMessage details:\n"
        f"  Subject: New in May\n  MAIL FROM: news@shop.example\n  RCPT TO: {WHO}\n",
        GONE,
        path="<post_master@text.example>",
    ),
    plain(
        *(
            "sendmail 5",
            "soft",
            "Mail Delivery Subsystem <MAILER-DAEMON@mx.example>",
            "Returned mail: Cannot send message for 4 days",
        ),
        "   ----- Transcript of session follows -----\n421 mx.example (smtp)... Deferred: Connection timed out during user open\n\n"
        "   ----- Unsent message follows -----\n",
    ),
    plain(
        *("spam filter", "soft", "postmaster@filter.example", "Message rejected"),
        f"The message to {WHO} was rejected because it was identified as spam.\n",
        BLOCKED,
    ),
]
DSN = BOUNCES[0].content
BROKEN = [
    Answer("boundary that never comes", "hard", DSN.replace(b"--=_b", b"--=_c"), GONE),
    Answer("no last boundary, cut in the middle", "hard", DSN[: DSN.index(b"Content-Type: message/rfc822")], GONE),
    Answer(
        "passed on by a server as an attachment",
        "hard",
        b"From: postmaster@hub.example\nTo: bounces@shop.example\nSubject: Fwd: Undelivered Mail\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain\n\nsee below\n--x\nContent-Type: message/rfc822\n\n"
        + DSN
        + b"\n--x--\n",
        GONE,
    ),
    Answer("line ends of Windows", "hard", DSN.replace(b"\n", b"\r\n"), GONE),
    Answer("unknown character set", "hard", DSN.replace(b"charset=utf-8", b"charset=x-unknown-9"), GONE),
    Answer(
        "base64 for the status",
        "hard",
        DSN.replace(
            DSN[DSN.index(b"Content-Type: message/delivery-status") : DSN.index(b"--=_b\nContent-Type: message/rfc822")],
            b"Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n"
            + base64.encodebytes(b"Reporting-MTA: dns; mx\n\n" + fields("5.1.1", "smtp; 550 5.1.1 User unknown").encode())
            + b"\n",
        ),
        GONE,
    ),
    Answer(
        "html alone",
        "hard",
        f"Return-Path: <>\nFrom: postmaster@inbox.example\nTo: {VERP}\nSubject: Undeliverable: New in May\nMIME-Version: 1.0\nContent-Type: text/html\n\n<html><head><style>p {{ content: 'blocked' }}</style></head><body><p><b>Delivery has failed</b> to these recipients:</p><a href='mailto:{WHO}'>{WHO}</a><br>The e-mail address you entered couldn't be found.</body></html>".encode(),
        GONE,
    ),
]
OTHERS = [
    feedback("arf, yahoo", "complaint", "abuse", "the customer called the mail spam"),
    feedback("arf, redacted", "complaint", "abuse", more="Original-Rcpt-To: redacted\n"),
    feedback("arf, opt-out", "unsubscribe", "opt-out"),
    feedback("arf, not spam", "auto_reply", "not-spam"),
    feedback("arf, authentication failure", "auto_reply", "auth-failure"),
    Answer(
        "outlook.com jmrp",
        "complaint",
        f"From: staff@hotmail.example\nTo: abuse@shop.example\nX-HmXmrOriginalRecipient: {WHO}\nSubject: complaint about message from 192.0.2.7\n\n{ORIGINAL}".encode(),
    ),
    plain(
        "unsubscribe by mail", "unsubscribe", f"Ada <{WHO}>", "unsubscribe", "", to=UNSUBSCRIBE, path=f"<{WHO}>", original=False
    ),
    plain(
        "unsubscribe, gmail",
        "unsubscribe",
        f"Ada <{WHO}>",
        "Unsubscribe",
        "This message was automatically generated by Gmail.",
        to=UNSUBSCRIBE,
        path=f"<{WHO}>",
        original=False,
    ),
    plain(
        "vacation",
        "auto_reply",
        f"Ada <{WHO}>",
        "Automatic reply: New in May",
        "I am out of the office until Monday and have no access to mail.",
        more="Auto-Submitted: auto-replied\nX-Auto-Response-Suppress: All\n",
        original=False,
    ),
    plain(
        "vacation, german",
        "auto_reply",
        f"Ada <{WHO}>",
        "Abwesenheitsnotiz: New in May",
        "Ich bin im Urlaub. Meine Adresse ist nicht mehr gültig.",
        path=f"<{WHO}>",
        original=False,
    ),
    plain(
        "has left the company",
        "auto_reply",
        f"Ada <{WHO}>",
        "Automatic reply: New in May",
        "I no longer work here; this address does not exist any more. Mail could not be delivered.",
        more="Auto-Submitted: auto-replied\n",
        original=False,
    ),
    plain(
        "vacation without a header",
        "auto_reply",
        f"Ada <{WHO}>",
        "Re: New in May",
        "Thank you for your message. I am on vacation; user unknown will help.",
        path=f"<{WHO}>",
    ),
    plain(
        "challenge",
        "auto_reply",
        f"Ada <{WHO}>",
        "Re: New in May",
        "Your message is held. Please confirm that you are a human by clicking here, so that it is delivered.",
        path=f"<{WHO}>",
    ),
    plain(
        "challenge, boxtrapper",
        "auto_reply",
        f"Ada <{WHO}>",
        "Your email requires verification verify#x1",
        "The message you sent requires that you verify that you are a real live human being. Undeliverable otherwise.",
        path="<>",
    ),
    plain(
        "exim, delayed",
        "auto_reply",
        "Mail Delivery System <Mailer-Daemon@mx.example>",
        "Warning: message 1abc delayed 24 hours",
        f"A message that you sent has not yet been delivered to one or more of its recipients after 24 hours.\n\n  {WHO}\n\nNo action is required on your part.",
    ),
    notification(
        "postfix, delayed",
        "auto_reply",
        DAEMON,
        "Delayed Mail (still being retried)",
        "THIS IS A WARNING ONLY.",
        fields("4.4.1", "X-Postfix; connect: timed out", "delayed"),
    ),
    notification(
        "greylisting notice",
        "auto_reply",
        DAEMON,
        "Delayed Mail",
        "Recipient address rejected: Greylisted, will retry",
        fields("4.2.0", "smtp; 450 4.2.0 Greylisted, see postgrey", "delayed"),
    ),
    plain(
        "greylisting in plain words",
        "auto_reply",
        DAEMON,
        "Delivery delayed",
        f"<{WHO}>: 451 4.7.1 Greylisting in action, please come back later. The server will keep trying.",
        original=False,
    ),
    notification(
        "delivered",
        "auto_reply",
        DAEMON,
        "Successful Mail Delivery Report",
        "was successfully delivered",
        fields("2.0.0", "smtp; 250 ok", "delivered"),
    ),
    plain(
        "a person answers",
        "unknown",
        f"Ada <{WHO}>",
        "Re: New in May",
        "Do you have this in blue, too?",
        path=f"<{WHO}>",
        to="news@shop.example",
    ),
    plain(
        "spam to the mailbox",
        "unknown",
        "Prince <prince@spam.example>",
        "Business proposal",
        "Dear friend, I have a proposal.",
        path="<prince@spam.example>",
        to="bounces@shop.example",
        original=False,
    ),
]
# As readers of bounces were reported to miss them: the form's first place of report is its name.
REPORTED = [
    notification(
        "rjbs/Mail-DeliveryStatus-BounceParser#2: the status alone says it",
        "soft",
        DAEMON,
        "Undelivered Mail Returned to Sender",
        "The mail system could not deliver.",
        f"{fields('5.2.2', 'X-Postfix; Mailbox is full')}\nOriginal-Recipient: rfc822;{WHO}",
        FULL,
    ),
    plain(
        "cfortune/PHP-Bounce-Handler#26: a reason that is split by two rules",
        "soft",
        DAEMON,
        "Undelivered Mail Returned to Sender",
        f'The mail system\n\n<{WHO}>: maildir delivery failed: "Sorry, the user\'s\nmaildir\n    has overdrawn his diskspace quota"',
        FULL,
    ),
    notification(
        "chatmail/core#1478: the Message-ID among the fields alone",
        "hard",
        "Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
        "Delivery Status Notification (Failure)",
        f"Your message wasn't delivered to {WHO} because the address couldn't be found.",
        f"X-Original-Message-ID: {MESSAGE_ID}\n\n{fields('5.1.1', 'smtp; 550-5.1.1 The email account does not exist.')}",
        GONE,
    ),
    notification(
        "kannon-email/kannon#431: delayed, beside a code of a failure",
        "auto_reply",
        DAEMON,
        "Delivery Status Notification (Delay)",
        "Delivery incomplete.",
        fields("4.4.7", "smtp; 550 5.1.1 unknown, said the last host", "Delayed"),
    ),
    plain(
        "sympa-community/sympa#397: delayed, by the subject alone",
        "auto_reply",
        "postmaster@mx.example",
        "Delivery delayed:[list] New in May",
        f"Delivery to the following recipients has been delayed.\n\n       {WHO}\n",
        original=False,
    ),
    plain(
        "Mailtrain-org/mailtrain#114: out of office, with the words of a bounce",
        "auto_reply",
        "ooto@simulator.amazonses.com",
        "Out of Office AutoReply: New in May",
        "I am out of the office, and my mailbox is full. Mary, unknown to you, does not exist here any more.",
        more="Auto-Submitted: auto-replied\n",
    ),
    plain(
        "NousResearch/hermes-agent#55383: a character set that is none, in the header too",
        "hard",
        "=?x-unknown-charset?B?SGVsbG8=?= <MAILER-DAEMON@x.example>",
        "=?x-unknown-charset?B?SGVsbG8=?=",
        f"Undeliverable: <{WHO}>: 550 5.1.1 User unknown",
        GONE,
        more='Content-Type: text/plain; charset=""\n',
    ),
]
MAC_LINES = next(answer for answer in BOUNCES if "old Mac" in answer.name)
BOUNCES[BOUNCES.index(MAC_LINES)] = MAC_LINES._replace(content=MAC_LINES.content.replace(b"\n", b"\r"))
ALL = [*BOUNCES, *BROKEN, *OTHERS, *REPORTED]
