// SPDX-License-Identifier: Apache-2.0
//! From tokens to statements.
//!
//! A parser that does not fit says what it would have taken, and alternatives add up, so that the message lists all
//! that could have stood there. Once the first word has told the kind of a statement there is no way back.

use std::sync::Arc;

use winnow::combinator::{alt, cut_err, delimited, opt, preceded, repeat, separated, terminated};
use winnow::error::{ErrMode, ModalResult, ParserError};
use winnow::stream::{Stream, TokenSlice};
use winnow::{Parser, token::any};

use weft_words::Span;

use crate::ast::{
    Alias, Array, Base, Entry, Enum, Field, Import, Message, Name, Rpc, Setting, Statement, Struct,
};
use crate::ast::{Type, Value};
use crate::error::{Fault, Source};
use crate::token::{Kind, Token, tokens};

type Input<'s> = TokenSlice<'s, Token<'s>>;
type Result<T> = ModalResult<T, Unexpected>;

/// Words before `define` and `typedef` that mean something to generators of C only.
const ORNAMENTS: [&str; 5] = ["autoendian", "manual_print", "manual_endian", "dont_trace", "typeonly"];

/// What did not fit, and what would have.
#[derive(Debug)]
struct Unexpected {
    /// The token that did not fit, counted from the end.
    left: usize,
    expected: Vec<&'static str>,
    /// Said instead of "expected".
    message: Option<(Span, String)>,
}

impl Unexpected {
    fn said(span: Span, message: String) -> ErrMode<Self> {
        ErrMode::Cut(Self { left: 0, expected: Vec::new(), message: Some((span, message)) })
    }
}

impl<'s> ParserError<Input<'s>> for Unexpected {
    type Inner = Self;

    fn from_input(input: &Input<'s>) -> Self {
        Self { left: input.eof_offset(), expected: Vec::new(), message: None }
    }

    fn or(mut self, other: Self) -> Self {
        // The alternative that came further knows better.
        match self.left.cmp(&other.left) {
            std::cmp::Ordering::Less => self,
            std::cmp::Ordering::Greater => other,
            std::cmp::Ordering::Equal => {
                self.expected.extend(other.expected);
                self
            }
        }
    }

    fn into_inner(self) -> std::result::Result<Self::Inner, Self> {
        Ok(self)
    }
}

/// The statements of a file.
pub fn parse(source: &Arc<Source>) -> std::result::Result<Vec<Statement>, Fault> {
    let tokens = tokens(source)?;
    let mut input = TokenSlice::new(&tokens);
    let end = take(|kind| kind == Kind::End, "the end of the file").void();
    let unexpected = match until(statement, end).parse_next(&mut input).map_err(ErrMode::into_inner) {
        Ok(statements) => return Ok(statements),
        Err(Ok(unexpected)) => unexpected,
        Err(Err(_)) => unreachable!("only parsers of partial input ask for more, and all tokens are here"),
    };
    if let Some((span, message)) = unexpected.message {
        return Err(Fault::new(source, span, message));
    }
    let found = &tokens[tokens.len().saturating_sub(unexpected.left).min(tokens.len() - 1)];
    let mut expected = unexpected.expected;
    expected.dedup();
    let expected = match expected.as_slice() {
        [] => "nothing more".to_owned(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    };
    Err(Fault::new(source, found.span, format!("found {}: expected {expected}", found.kind)))
}

/// Items up to a mark; complains about what is neither.
fn until<'s, T>(
    mut item: impl Parser<Input<'s>, T, ErrMode<Unexpected>>,
    mut end: impl Parser<Input<'s>, (), ErrMode<Unexpected>>,
) -> impl Parser<Input<'s>, Vec<T>, ErrMode<Unexpected>> {
    move |input: &mut Input<'s>| {
        let mut items = Vec::new();
        while let Some(item) =
            alt((item.by_ref().map(Some), end.by_ref().map(|()| None))).parse_next(input)?
        {
            items.push(item);
        }
        Ok(items)
    }
}

/// One token that fits; what it is called when it does not.
fn take<'s>(
    fits: impl Fn(Kind<'s>) -> bool,
    expected: &'static str,
) -> impl Parser<Input<'s>, &'s Token<'s>, ErrMode<Unexpected>> {
    move |input: &mut Input<'s>| {
        let start = input.checkpoint();
        let left = input.eof_offset();
        match any::<_, ErrMode<Unexpected>>.parse_next(input) {
            Ok(token) if fits(token.kind) => Ok(token),
            _ => {
                input.reset(&start);
                Err(ErrMode::Backtrack(Unexpected { left, expected: vec![expected], message: None }))
            }
        }
    }
}

fn mark<'s>(mark: char) -> impl Parser<Input<'s>, (), ErrMode<Unexpected>> {
    let expected = match mark {
        ':' => "`:`",
        '{' => "`{`",
        '}' => "`}`",
        '[' => "`[`",
        ']' => "`]`",
        ';' => "`;`",
        '=' => "`=`",
        ',' => "`,`",
        _ => "`-`",
    };
    take(move |kind| kind == Kind::Mark(mark), expected).void()
}

fn word<'s>(word: &'static str) -> impl Parser<Input<'s>, (), ErrMode<Unexpected>> {
    take(move |kind| kind == Kind::Word(word), word).void()
}

fn name(input: &mut Input<'_>) -> Result<Name> {
    let token = take(|kind| matches!(kind, Kind::Word(_)), "a name").parse_next(input)?;
    let Kind::Word(text) = token.kind else { return Err(ErrMode::from_input(input)) };
    Ok(Name { text: text.to_owned(), span: token.span })
}

fn text(input: &mut Input<'_>) -> Result<(String, Span)> {
    let token = take(|kind| matches!(kind, Kind::Text(_)), "a text in quotes").parse_next(input)?;
    let Kind::Text(text) = token.kind else { return Err(ErrMode::from_input(input)) };
    Ok((text.to_owned(), token.span))
}

fn integer(input: &mut Input<'_>) -> Result<(u64, Span)> {
    let token = take(|kind| matches!(kind, Kind::Integer(_)), "a number").parse_next(input)?;
    let Kind::Integer(number) = token.kind else { return Err(ErrMode::from_input(input)) };
    Ok((number, token.span))
}

/// The length of a fixed array.
fn length(input: &mut Input<'_>) -> Result<u32> {
    let (number, span) = integer(input)?;
    match u32::try_from(number) {
        Ok(length @ 1..=65535) => Ok(length),
        _ => Err(Unexpected::said(span, format!("a length of {number}: expected 1 to 65535"))),
    }
}

fn value(input: &mut Input<'_>) -> Result<Value> {
    let float = take(|kind| matches!(kind, Kind::Float(_)), "a number");
    alt((
        (opt(mark('-')), integer).map(|(minus, (number, _))| {
            Value::Integer(if minus.is_some() { -i128::from(number) } else { i128::from(number) })
        }),
        float.map(|token| match token.kind {
            Kind::Float(number) => Value::Float(number),
            _ => Value::Float(0.0),
        }),
        text.map(|(text, _)| Value::Text(text)),
        name.map(|name| Value::Word(name.text)),
    ))
    .parse_next(input)
}

fn statement(input: &mut Input<'_>) -> Result<Statement> {
    alt((
        preceded(word("option"), cut_err(terminated(setting, mark(';')))).map(Statement::Option),
        preceded(word("import"), cut_err(terminated(text, mark(';'))))
            .map(|(path, span)| Statement::Import(Import { path, span })),
        preceded(word("enum"), cut_err(enumeration(false))).map(Statement::Enum),
        preceded(word("enumflag"), cut_err(enumeration(true))).map(Statement::Enum),
        preceded(word("union"), cut_err(structure(true))).map(Statement::Struct),
        preceded(word("service"), cut_err(service)).map(Statement::Service),
        definition,
    ))
    .parse_next(input)
}

fn setting(input: &mut Input<'_>) -> Result<Setting> {
    (name, opt(preceded(mark('='), cut_err(value))))
        .map(|(name, value)| Setting { name, value })
        .parse_next(input)
}

/// `typedef` and `define`, with the words before them.
fn definition(input: &mut Input<'_>) -> Result<Statement> {
    let mut autoreply = false;
    loop {
        if opt(word("autoreply")).parse_next(input)?.is_some() {
            autoreply = true;
            continue;
        }
        let ornament = |kind| matches!(kind, Kind::Word(word) if ORNAMENTS.contains(&word));
        if opt(take(ornament, "autoendian")).parse_next(input)?.is_none() {
            break;
        }
    }
    let message = preceded(word("define"), cut_err(message))
        .map(move |message| Statement::Message(Message { autoreply, ..message }));
    if autoreply {
        return cut_err(message).parse_next(input);
    }
    alt((message, preceded(word("typedef"), cut_err(typedef)))).parse_next(input)
}

fn message(input: &mut Input<'_>) -> Result<Message> {
    enum Item {
        Setting(Setting),
        Field(Field),
    }
    let option = preceded(word("option"), cut_err(terminated(setting, mark(';'))));
    let item = alt((option.map(Item::Setting), field.map(Item::Field)));
    let (name, items): (Name, Vec<Item>) =
        (name, preceded(mark('{'), until(item, mark('}')))).parse_next(input)?;
    mark(';').parse_next(input)?;
    let mut message = Message { name, autoreply: false, settings: Vec::new(), fields: Vec::new() };
    for item in items {
        match item {
            Item::Setting(setting) => message.settings.push(setting),
            Item::Field(field) => message.fields.push(field),
        }
    }
    Ok(message)
}

fn typedef(input: &mut Input<'_>) -> Result<Statement> {
    let alias = (kind, name, opt(delimited(mark('['), cut_err(length), mark(']'))), mark(';'));
    alt((
        structure(false).map(Statement::Struct),
        alias.map(|(target, name, length, ())| Statement::Alias(Alias { name, target, length })),
    ))
    .parse_next(input)
}

fn structure<'s>(union: bool) -> impl Parser<Input<'s>, Struct, ErrMode<Unexpected>> {
    move |input: &mut Input<'s>| {
        let (name, ()) = (name, mark('{')).parse_next(input)?;
        let fields = cut_err(terminated(until(field, mark('}')), mark(';')));
        fields.map(|fields| Struct { name: name.clone(), union, fields }).parse_next(input)
    }
}

fn kind(input: &mut Input<'_>) -> Result<Type> {
    let name = take(|kind| matches!(kind, Kind::Word(_)), "a type").parse_next(input)?;
    let Kind::Word(word) = name.kind else { return Err(ErrMode::from_input(input)) };
    if word == "string" {
        return Ok(Type::String);
    }
    if let Some(base) = Base::ALL.into_iter().find(|base| base.word() == word) {
        return Ok(Type::Base(base));
    }
    match word.strip_prefix("vl_api_").and_then(|word| word.strip_suffix("_t")) {
        Some(text) => Ok(Type::Named(Name { text: text.to_owned(), span: name.span })),
        None => Err(ErrMode::Backtrack(Unexpected {
            left: input.eof_offset() + 1,
            expected: vec!["a type: u8, ..., bool, f64, string or vl_api_<name>_t"],
            message: None,
        })),
    }
}

fn field(input: &mut Input<'_>) -> Result<Field> {
    let (kind, name) = (kind, cut_err(name)).parse_next(input)?;
    // `[` opens a length or settings; what follows the word in it tells.
    let settings = separated(1.., cut_setting, mark(','));
    let array = alt((
        mark(']').map(|()| Array::Open),
        terminated(length.map(Array::Fixed), mark(']')),
        terminated(super::parse::name.map(Array::Counted), mark(']')),
    ));
    let array = opt(preceded(mark('['), array)).parse_next(input)?.unwrap_or(Array::No);
    let settings: Option<Vec<Setting>> =
        opt(delimited(mark('['), settings, cut_err(mark(']')))).parse_next(input)?;
    cut_err(mark(';')).parse_next(input)?;
    Ok(Field { name, kind, array, settings: settings.unwrap_or_default() })
}

/// `NAME=VALUE` within brackets.
fn cut_setting(input: &mut Input<'_>) -> Result<Setting> {
    (name, mark('='), cut_err(value))
        .map(|(name, (), value)| Setting { name, value: Some(value) })
        .parse_next(input)
}

fn enumeration<'s>(flags: bool) -> impl Parser<Input<'s>, Enum, ErrMode<Unexpected>> {
    move |input: &mut Input<'s>| {
        let (name, base) = (name, opt(preceded(mark(':'), kind))).parse_next(input)?;
        let base = match base {
            None => Base::U32,
            Some(Type::Base(base)) if base.is_unsigned() => base,
            Some(other) => {
                let message = format!("`{}` below an enum: expected u8, u16, u32 or u64", other.word());
                return Err(Unexpected::said(name.span, message));
            }
        };
        let mut entries: Vec<Entry> = Vec::new();
        mark('{').parse_next(input)?;
        loop {
            let next = entries.last().map_or(0, |entry| entry.value.wrapping_add(1));
            entries.push(entry(next).parse_next(input)?);
            let more = opt(mark(',')).parse_next(input)?.is_some();
            if opt(mark('}')).parse_next(input)?.is_some() {
                break;
            }
            if !more {
                alt((mark(','), mark('}'))).parse_next(input)?;
            }
        }
        mark(';').parse_next(input)?;
        Ok(Enum { name, flags, base, entries })
    }
}

fn entry<'s>(next: u64) -> impl Parser<Input<'s>, Entry, ErrMode<Unexpected>> {
    let value = opt(preceded(mark('='), cut_err(integer)));
    let option = opt(delimited(mark('['), cut_err(word("backwards_compatible")), mark(']')));
    (name, value, option).map(move |(name, value, option)| Entry {
        name,
        value: value.map_or(next, |(value, _)| value),
        backwards_compatible: option.is_some(),
    })
}

fn service(input: &mut Input<'_>) -> Result<Vec<Rpc>> {
    preceded(mark('{'), terminated(until(rpc, mark('}')), mark(';'))).parse_next(input)
}

fn rpc(input: &mut Input<'_>) -> Result<Rpc> {
    let (request, ()) = preceded(word("rpc"), cut_err((name, word("returns")))).parse_next(input)?;
    let mut rpc = Rpc { request, reply: None, stream: None, details: None, events: Vec::new() };
    if opt(word("stream")).parse_next(input)?.is_some() {
        rpc.details = Some(cut_err(name).parse_next(input)?);
    } else {
        let reply = cut_err(name).parse_next(input)?;
        rpc.reply = (reply.text != "null").then_some(reply);
        if opt(word("stream")).parse_next(input)?.is_some() {
            rpc.stream = Some(cut_err(name).parse_next(input)?);
        }
        if opt(word("events")).parse_next(input)?.is_some() {
            rpc.events = cut_err(repeat(1.., name)).parse_next(input)?;
        }
    }
    cut_err(mark(';')).parse_next(input)?;
    Ok(rpc)
}
