// SPDX-License-Identifier: Apache-2.0
//! One client, from the preamble to `quit`.

use std::{collections::VecDeque, time::Duration};

use super::{
    keys::{self, Key},
    line::{Line, Screen},
    pager::Pager,
    telnet::{Decoder, Event, PREAMBLE},
    words::{Own, own},
};
use crate::{Candidate, Completion};

/// How long a client may take to name its terminal, before it is taken for a person.
const NAMING: Duration = Duration::from_secs(1);
/// How long `vppctl` with a pipe may be silent before it gets another NUL. It looks for the end of its pipe only when
/// something arrives, so without one it waits for ever if the pipe ends after the last answer.
const IDLE: Duration = Duration::from_millis(400);
/// Bytes of a line that is not edited here.
const LONGEST: usize = 1 << 16;
/// Bytes of commands that are taken in advance, and of answers that are kept while the client does not read: `vppctl` sends all of
/// a pipe before it reads any answer, and a client costs no more than both.
const MOST_INPUT: usize = 4 << 20;
const MOST_OUTPUT: usize = 4 << 20;
/// Rows and columns of a terminal that does not say, and the most that it may say.
const DEFAULT_SIZE: (usize, usize) = (80, 24);
const LARGEST: usize = 512;
/// Terminals that understand ECMA-48, by how their names begin.
const ANSI: [&str; 7] = ["ansi", "linux", "rxvt", "screen", "tmux", "vt", "xterm"];

const BANNER: &str = r"              __ _
 __ __ _____ / _| |_
 \ V  V / -_)  _|  _|
  \_/\_/\___|_|  \__|

";

/// What runs the commands.
pub trait Shell {
    /// The answer to a command, an error likewise. `None`: it comes later, by [`Session::answered`].
    fn run(&mut self, command: &str) -> Option<String>;
    /// The words that fit at byte `cursor` of `line`.
    fn complete(&mut self, line: &str, cursor: usize) -> Completion;
}

/// How sessions behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Ends in a blank.
    pub prompt: String,
    pub banner: bool,
    /// No telnet, no editing: prompt, line, answer.
    pub line_mode: bool,
    pub pager: bool,
    /// Longer answers are not paged.
    pub pager_lines: usize,
    /// Lines that are remembered.
    pub history: usize,
}

impl Default for Options {
    /// As VPP has it.
    fn default() -> Self {
        Self {
            prompt: "vpp# ".into(),
            banner: true,
            line_mode: false,
            pager: true,
            pager_lines: 100_000,
            history: 50,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The terminal has not been named yet.
    Unknown,
    Interactive,
    /// `vppctl` with a command or a pipe.
    Batch,
    /// `cli-line-mode`.
    Lines,
}

/// The protocol's state for one client.
#[derive(Debug)]
pub struct Session {
    options: Options,
    mode: Mode,
    input: VecDeque<u8>,
    output: Vec<u8>,
    telnet: Decoder,
    keys: keys::Decoder,
    line: Line,
    /// A line that is not edited, and whether it has grown too long.
    raw: Vec<u8>,
    too_long: bool,
    pager: Option<Pager>,
    columns: usize,
    rows: usize,
    ansi: bool,
    /// An answer is to come; whether it is the last one.
    waits: Option<bool>,
    closed: bool,
}

impl Session {
    /// A client that has just connected. [`Session::output`] has the preamble, to be sent at once.
    pub fn new(options: Options) -> Session {
        let (columns, rows) = DEFAULT_SIZE;
        let mut session = Session {
            mode: if options.line_mode { Mode::Lines } else { Mode::Unknown },
            options,
            input: VecDeque::new(),
            output: Vec::new(),
            telnet: Decoder::default(),
            keys: keys::Decoder::default(),
            line: Line::default(),
            raw: Vec::new(),
            too_long: false,
            pager: None,
            columns,
            rows,
            ansi: false,
            waits: None,
            closed: false,
        };
        match session.mode {
            Mode::Lines => session.greet(),
            _ => session.output.extend(PREAMBLE),
        }
        session
    }

    /// Takes bytes of the client.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend(bytes);
    }

    /// Works on what was fed until it is used up, the session ends, or a command has been run: so that whoever
    /// drives this can send an answer before the next one is made. Says whether there is more to do.
    pub fn step(&mut self, shell: &mut dyn Shell) -> bool {
        while !self.closed
            && self.waits.is_none()
            && let Some(byte) = self.input.pop_front()
        {
            let ran = match self.telnet.push(byte) {
                Some(Event::Byte(byte)) => self.byte(byte, shell),
                Some(event) => {
                    self.negotiated(event);
                    false
                }
                None => false,
            };
            if ran {
                break;
            }
        }
        !self.closed && self.waits.is_none() && !self.input.is_empty()
    }

    /// Whether an answer is to come, before which nothing else happens.
    pub fn is_waiting(&self) -> bool {
        self.waits.is_some()
    }

    /// Whether the client has sent as much as is kept for later.
    pub fn is_full(&self) -> bool {
        self.input.len() >= MOST_INPUT
    }

    /// Whether as many answers wait as are kept for a client that does not read; `more` bytes of them are elsewhere.
    pub fn is_behind(&self, more: usize) -> bool {
        self.output.len() + more >= MOST_OUTPUT
    }

    /// Whether a person who waits for an answer has had enough: takes what came up to `^C`.
    pub fn take_interrupt(&mut self) -> bool {
        let end = self.input.iter().position(|byte| *byte == keys::INTERRUPT);
        match end {
            Some(end) if self.mode == Mode::Interactive => {
                self.input.drain(..=end);
                self.say("^C\n");
                true
            }
            _ => false,
        }
    }

    /// Whether an answer may be said in parts: a person gets it a page at a time, and all of it is needed for that.
    pub fn takes_parts(&self) -> bool {
        self.mode != Mode::Interactive
    }

    /// A part of the answer that is to come.
    pub fn part(&mut self, text: &str) {
        self.say(text);
    }

    /// The answer that was to come.
    pub fn answered(&mut self, text: &str) {
        match self.waits.take() {
            None => {}
            Some(_) if self.mode == Mode::Interactive => self.page(text),
            Some(last) => self.raw_answer(text, last),
        }
    }

    /// The client sends nothing more: runs what it left without an end of line, and closes.
    pub fn end(&mut self, shell: &mut dyn Shell) {
        if !self.raw.is_empty() && !self.closed {
            self.raw_line(shell);
        }
        self.closed = true;
    }

    /// How long to wait for the client before [`Session::expire`]; `None`: as long as it likes.
    pub fn patience(&self) -> Option<Duration> {
        match self.mode {
            Mode::Unknown => Some(NAMING),
            Mode::Batch => Some(IDLE),
            Mode::Interactive | Mode::Lines => None,
        }
    }

    /// The client has been silent for [`Session::patience`].
    pub fn expire(&mut self, shell: &mut dyn Shell) {
        match self.mode {
            Mode::Unknown => self.begin(),
            // The end of its pipe, without an end of line.
            Mode::Batch if !self.raw.is_empty() => self.raw_line(shell),
            Mode::Batch => self.output.push(0),
            _ => {}
        }
    }

    /// What is to be sent; the caller takes away what it has sent.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Whether the connection ends when the output has been sent.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn negotiated(&mut self, event: Event) {
        match event {
            Event::Byte(_) => {}
            Event::Terminal(name) if name == "vppctl" => self.mode = Mode::Batch,
            Event::Terminal(name) => {
                self.ansi = ANSI.iter().any(|known| name.starts_with(known));
                if self.mode == Mode::Unknown {
                    self.begin();
                }
            }
            Event::Window { columns, rows } => {
                let size = |said: u16, default: usize| match said {
                    0 => default,
                    said => usize::from(said).min(LARGEST),
                };
                self.columns = size(columns, DEFAULT_SIZE.0);
                self.rows = size(rows, DEFAULT_SIZE.1);
            }
            Event::AreYouThere => self.output.extend(b"fd.io VPP\r\n"),
        }
    }

    fn begin(&mut self) {
        self.mode = Mode::Interactive;
        self.greet();
    }

    fn greet(&mut self) {
        if self.options.banner {
            self.say(BANNER);
        }
        self.prompt();
    }

    fn prompt(&mut self) {
        self.output.extend(self.options.prompt.as_bytes());
    }

    /// Sends text; NUL means something else to `vppctl`.
    fn say(&mut self, text: &str) {
        let end = if self.mode == Mode::Lines { "\n" } else { "\r\n" };
        // A line at a time: an answer may have a hundred megabytes.
        for line in text.split_inclusive('\n') {
            let (words, ended) = line.strip_suffix('\n').map_or((line, false), |words| (words, true));
            words.split('\0').for_each(|part| self.output.extend_from_slice(part.as_bytes()));
            if ended {
                self.output.extend_from_slice(end.as_bytes());
            }
        }
    }

    /// Says whether a command was run.
    fn byte(&mut self, byte: u8, shell: &mut dyn Shell) -> bool {
        if self.mode == Mode::Unknown {
            // Neither telnet nor `vppctl`: netcat, for example.
            self.begin();
        }
        if self.mode == Mode::Interactive {
            return self.keys.push(byte).is_some_and(|key| self.key(key, shell));
        }
        match byte {
            b'\n' => self.raw_line(shell),
            // The C string that `vppctl` sends ends in one; its line has ended before.
            0 if self.raw.is_empty() => return false,
            0 => self.raw_line(shell),
            _ => {
                self.too_long |= self.raw.len() == LONGEST;
                if !self.too_long {
                    self.raw.push(byte);
                }
                return false;
            }
        }
        true
    }

    fn raw_line(&mut self, shell: &mut dyn Shell) {
        let line = std::mem::take(&mut self.raw);
        if std::mem::take(&mut self.too_long) {
            return self.raw_answer(&format!("a command has {LONGEST} bytes at most\n"), false);
        }
        let line = String::from_utf8_lossy(&line);
        // `vppctl` sends "quit" after a pipe that ended without an end of line; no command ends so by itself.
        let (line, last) = match line.trim_end().strip_suffix("quit") {
            Some(line) if self.mode == Mode::Batch => (line, true),
            _ => (&*line, false),
        };
        match self.run(line, shell) {
            Some(text) => self.raw_answer(&text, last),
            None => self.waits = Some(last),
        }
    }

    fn raw_answer(&mut self, text: &str, last: bool) {
        self.say(text);
        self.closed |= last;
        match self.mode {
            _ if self.closed => {}
            Mode::Batch => self.output.push(0),
            _ => self.prompt(),
        }
    }

    fn run(&mut self, line: &str, shell: &mut dyn Shell) -> Option<String> {
        let text = match own(line) {
            Some(Own::Quit) => {
                self.closed = true;
                String::new()
            }
            Some(Own::History) => {
                let history = (1..).zip(self.line.history());
                history.map(|(number, line)| format!("{number:5}  {line}\n")).collect()
            }
            Some(Own::Pager(on)) => {
                self.options.pager = on;
                String::new()
            }
            Some(Own::ShowTerminal) => self.describe(),
            None if line.trim().is_empty() => String::new(),
            None => return shell.run(line),
        };
        Some(text)
    }

    fn describe(&self) -> String {
        let on = |on: bool| if on { "on" } else { "off" };
        format!(
            "Terminal width:   {}\nTerminal height:  {}\nANSI capable:     {}\nHistory limit:    {}\n\
             Pager:            {}\nPager limit:      {}\n",
            self.columns,
            self.rows,
            if self.ansi { "yes" } else { "no" },
            self.options.history,
            on(self.options.pager),
            self.options.pager_lines
        )
    }

    /// Says whether a command was run.
    fn key(&mut self, key: Key, shell: &mut dyn Shell) -> bool {
        if let Some(pager) = &mut self.pager {
            if !pager.key(&mut self.output, key) {
                self.pager = None;
                self.prompt();
            }
            return false;
        }
        match key {
            Key::Enter => {
                self.edit(Key::End);
                self.say("\n");
                let line = self.line.enter(self.options.history);
                match self.run(&line, shell) {
                    Some(text) => self.page(&text),
                    None => self.waits = Some(false),
                }
                return true;
            }
            Key::Cancel => {
                self.say("^C\n");
                self.line.forget();
                self.prompt();
            }
            Key::Redraw => {
                // Erase the display; cursor to the upper left corner (ECMA-48).
                self.output.extend(if self.ansi { b"\x1b[2J\x1b[1;1H".as_slice() } else { b"\r\n" });
                self.show_line();
            }
            Key::Tab => self.complete(shell),
            Key::Char('?') if !quoted(&self.line.text[..self.line.cursor]) => self.help(shell),
            key => self.edit(key),
        }
        false
    }

    /// Shows an answer, and the prompt after it.
    fn page(&mut self, text: &str) {
        if self.closed {
            return;
        }
        let most = if self.options.pager { self.options.pager_lines } else { 0 };
        self.pager = Pager::new(text, self.columns, self.rows, most, self.ansi);
        match &mut self.pager {
            Some(pager) => pager.start(&mut self.output),
            None => {
                self.say(text);
                self.prompt();
            }
        }
    }

    fn screen(&self) -> Screen {
        Screen { width: self.columns, ansi: self.ansi, prompt: self.options.prompt.len() }
    }

    fn edit(&mut self, key: Key) {
        let (text, cursor) = (self.line.text.clone(), self.line.cursor);
        let searched = self.line.search_prompt();
        self.line.edit(key);
        if searched.is_some() || self.line.search_prompt().is_some() {
            // Erase the line (ECMA-48), which has another prompt now.
            self.output.extend(if self.ansi { b"\r\x1b[2K".as_slice() } else { b"\r\n" });
            self.show_line();
        } else {
            let new = (self.line.text.as_str(), self.line.cursor);
            self.screen().redraw(&mut self.output, (&text, cursor), new);
        }
    }

    /// Prompt and line, on a fresh line of the terminal.
    fn show_line(&mut self) {
        let search = self.line.search_prompt();
        let prompt = search.as_deref().unwrap_or(&self.options.prompt);
        self.output.extend(prompt.as_bytes());
        let screen = Screen { prompt: prompt.len(), ..self.screen() };
        screen.redraw(&mut self.output, ("", 0), (&self.line.text, self.line.cursor));
    }

    fn offered(&self, shell: &mut dyn Shell) -> Completion {
        let mut completion = shell.complete(&self.line.text, self.line.cursor);
        completion.start = completion.start.min(self.line.cursor);
        completion
    }

    fn complete(&mut self, shell: &mut dyn Shell) {
        let completion = self.offered(shell);
        let typed = self.line.cursor - completion.start;
        let text = match completion.candidates.as_slice() {
            [] => return,
            [one] => format!("{} ", one.text),
            several => common(several),
        };
        if text.len() <= typed {
            self.list(&completion);
            return;
        }
        let old = (self.line.text.clone(), self.line.cursor);
        self.line.replace(completion.start, &text);
        let new = (self.line.text.as_str(), self.line.cursor);
        self.screen().redraw(&mut self.output, (&old.0, old.1), new);
    }

    fn help(&mut self, shell: &mut dyn Shell) {
        let completion = self.offered(shell);
        self.list(&completion);
    }

    fn list(&mut self, completion: &Completion) {
        self.say("\n");
        if let Some(usage) = &completion.usage {
            self.say(&format!("{usage}\n"));
        }
        self.say(&Candidate::table(&completion.candidates));
        self.show_line();
    }
}

/// What all candidates begin with.
fn common(candidates: &[Candidate]) -> String {
    let first = &candidates[0].text;
    let shared = |other: &Candidate| {
        first.chars().zip(other.text.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum()
    };
    first[..candidates.iter().map(shared).min().unwrap_or(0)].to_owned()
}

/// Whether `text` ends inside quotes.
fn quoted(text: &str) -> bool {
    text.matches('"').count() % 2 == 1
}
