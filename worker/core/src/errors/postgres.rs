//! Errors of Postgres, by SQLSTATE.

use super::names::{function, has_shape};
use super::{Class, Meaning, Shows, of, permanent, short, source, transient};
use crate::errors::failure::Failure;
use crds::Reason;

pub use super::postgres_row::{Row, When};
pub use super::postgres_table::TABLE;

/// Where the server found the error in a statement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Position {
    /// In none.
    #[default]
    None,
    /// In ours.
    Ours,
    /// In one that a function ran.
    Function,
}

/// What a server of Postgres, or a pooler in front of it, reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answer<'a> {
    /// SQLSTATE.
    pub code: &'a str,
    /// The message.
    pub message: &'a str,
    /// Which functions were in flight.
    pub context: Option<&'a str>,
    /// Where in a statement.
    pub position: Position,
    /// The statement or expression that a function ran, where the position is in that.
    pub inner: Option<&'a str>,
    /// Source file that raised it.
    pub file: Option<&'a str>,
    /// Its routine.
    pub routine: Option<&'a str>,
    /// Names of the object that it is about: schema, table, column, constraint, data type.
    pub object: [Option<&'a str>; 5],
}

/// The fields of an error message, by their kinds.
#[derive(Debug, Default)]
pub struct Fields<'a>(Vec<(u8, &'a str)>);

impl<'a> Fields<'a> {
    /// Reads the body of an ErrorResponse (Error and Notice Message Fields). Each field is a kind and a text that ends with
    /// a zero byte; another zero byte ends the list. A text that is not UTF-8 is read as empty.
    pub fn of_message(body: &'a [u8]) -> Self {
        let fields = body.split(|byte| *byte == 0).map_while(|field| field.split_first());
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        Self(fields.map(|(kind, field)| (*kind, text(field))).collect())
    }

    fn of(&self, kind: u8) -> Option<&'a str> {
        self.0.iter().find(|(found, _)| *found == kind).map(|(_, text)| *text)
    }

    /// The error that the fields report.
    pub fn answer(&self) -> Answer<'a> {
        let position = match (self.of(b'P'), self.of(b'p')) {
            (Some(_), _) => Position::Ours,
            (None, Some(_)) => Position::Function,
            (None, None) => Position::None,
        };
        Answer {
            code: self.of(b'C').unwrap_or_default(),
            message: self.of(b'M').unwrap_or_default(),
            context: self.of(b'W'),
            position,
            inner: self.of(b'q').filter(|_| position == Position::Function),
            file: self.of(b'F'),
            routine: self.of(b'R'),
            object: [b's', b't', b'c', b'n', b'd'].map(|kind| self.of(kind)),
        }
    }
}

/// A code of no row.
pub const UNKNOWN: Meaning = transient(
    Reason::DatabaseFailed,
    "the database returned an error of an unknown class",
    "Check the server's log.",
)
.shown(Shows::Message);

/// An error that a function, a procedural language or an extension raises by its own choice.
pub const RAISED: Meaning = permanent(
    Reason::QueryFailed,
    "a function that the table or view calls raised an error",
    "Run the query as the database user to see the function's message, which Tidemark does not show because \
     it can contain row values. Then correct the function or the rows.",
);

/// An error that the server behind a foreign table or a call of dblink raised.
pub const REMOTE: Meaning = permanent(
    Reason::QueryFailed,
    "the foreign server of a foreign table returned an error",
    "Correct the foreign table, its server, its user mapping or its table. The log of the foreign server \
     contains the whole message.",
);

/// Code and form of the only message about a foreign server that is shown: this server writes it. All others
/// are the foreign server's, where a function or a cast may have put a value of a row into them.
const REMOTE_SHAPE: (&str, &str) = ("08001", "could not connect to server \"%\"");

/// Said instead of a message about the text of a statement that a function ran.
const WITHHELD: &str = "; the message is in the server's log and is not shown here, because the function \
     may have built the statement from row values";

/// Files of the server whose messages hold names of objects that exist, numbers and fixed text, never a value of
/// a row; a message about a name that was looked up is [`Shows::Named`]. A file that is not listed may be one of
/// an extension, or name the file that a function was asked for (`fd.c`, `dfmgr.c`, `copyto.c`): its messages
/// are not shown.
const SERVER_FILES: [&str; 91] = [
    "aclchk.c",
    "analyze.c",
    "aset.c",
    "async.c",
    "auth-scram.c",
    "auth.c",
    "backend_startup.c",
    "buf_init.c",
    "buffile.c",
    "bufmgr.c",
    "catalog.c",
    "clog.c",
    "copy.c",
    "createas.c",
    "dbcommands.c",
    "deadlock.c",
    "dependency.c",
    "detoast.c",
    "dsm.c",
    "dsm_impl.c",
    "execExpr.c",
    "execIndexing.c",
    "execMain.c",
    "execParallel.c",
    "execTuples.c",
    "execUtils.c",
    "fmgr.c",
    "foreign.c",
    "functions.c",
    "generation.c",
    "genam.c",
    "heapam.c",
    "heapam_handler.c",
    "heaptoast.c",
    "hba.c",
    "indexam.c",
    "lmgr.c",
    "lock.c",
    "logtape.c",
    "lsyscache.c",
    "matview.c",
    "mcxt.c",
    "md.c",
    "miscinit.c",
    "multixact.c",
    "namespace.c",
    "nodeSubplan.c",
    "nbtinsert.c",
    "nbtpage.c",
    "nbtsearch.c",
    "nbtutils.c",
    "nodeModifyTable.c",
    "objectaddress.c",
    "parse_agg.c",
    "parse_clause.c",
    "parse_coerce.c",
    "parse_collate.c",
    "parse_cte.c",
    "parse_expr.c",
    "parse_func.c",
    "parse_node.c",
    "parse_oper.c",
    "parse_param.c",
    "parse_relation.c",
    "parse_target.c",
    "parse_type.c",
    "parse_utilcmd.c",
    "pl_comp.c",
    "pl_exec.c",
    "portalcmds.c",
    "portalmem.c",
    "postgres.c",
    "postinit.c",
    "postmaster.c",
    "prepare.c",
    "proc.c",
    "procarray.c",
    "pquery.c",
    "relation.c",
    "relcache.c",
    "rewriteHandler.c",
    "rls.c",
    "sequence.c",
    "slru.c",
    "snapmgr.c",
    "stack_depth.c",
    "syscache.c",
    "table.c",
    "transam.c",
    "utility.c",
    "xact.c",
];

/// Who wrote the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The server, or a pooler, which sees no rows.
    Server,
    /// A function, by its own choice.
    Function,
    /// The server of a foreign table.
    Foreign,
    /// Something else, such as an extension.
    Other,
}

impl Answer<'_> {
    fn origin(&self) -> Origin {
        let Some(file) = self.file else { return Origin::Server };
        let raises = matches!(self.routine, Some("exec_stmt_raise" | "exec_stmt_assert"));
        let languages = ["plpy_", "plperl", "pltcl", "plv8", "plr", "pljava"];
        if raises || languages.iter().any(|language| file.starts_with(language)) {
            Origin::Function
        } else if file == "connection.c" || file == "dblink.c" || file.contains("_fdw") {
            Origin::Foreign
        } else if SERVER_FILES.contains(&file) {
            Origin::Server
        } else {
            Origin::Other
        }
    }

    fn within(&self) -> Option<(String, &str)> {
        function(self.context?)
    }

    fn is_inside(&self) -> bool {
        self.position == Position::Function || self.within().is_some()
    }

    /// Whether the text that was parsed can hold no value of a row: it is our own statement, or part of a
    /// function's source.
    fn parsed_fixed_text(&self) -> bool {
        match self.position {
            Position::None => false,
            Position::Ours => !self.is_inside(),
            Position::Function => {
                let innermost = self.context.unwrap_or_default().lines().next();
                source::is_parsed(innermost.unwrap_or_default(), self.code, self.inner)
            }
        }
    }

    fn applies(&self, row: &Row) -> bool {
        match row.when {
            When::Always => true,
            When::Inside => self.is_inside(),
            When::Ours => self.position == Position::Ours && !self.is_inside(),
            When::By(routines) => self.routine.is_some_and(|routine| routines.contains(&routine)),
            When::Says(words) => self.message.starts_with(words),
        }
    }

    /// The server's message, where it may be shown.
    fn shown(&self, shows: Shows) -> Option<String> {
        let may = self.origin() == Origin::Server
            && match shows {
                Shows::Code => false,
                Shows::Named => self.parsed_fixed_text(),
                Shows::Message => true,
            };
        may.then(|| short(self.message))
    }

    /// The code, and the names that the server gives besides its message.
    fn named(&self) -> String {
        let mut text = format!(" (SQLSTATE {}", self.code);
        if let Some((function, _)) = self.within() {
            text.extend([", in function ", &*function]);
        }
        if matches!(self.origin(), Origin::Server | Origin::Other) {
            let kinds = ["schema", "table", "column", "constraint", "type"];
            for (kind, name) in kinds.iter().zip(self.object) {
                if let Some(name) = name {
                    text.extend([", ", kind, " ", &*short(name)]);
                }
            }
        }
        text.push(')');
        text
    }
}

/// What an answer means by its code alone, wherever it was raised.
pub fn meaning(answer: &Answer<'_>) -> Meaning {
    let class = answer.code.get(..2).unwrap_or_default();
    let find = |code: &str| {
        let row = TABLE.iter().find(|row| row.codes.contains(&code) && answer.applies(row));
        row.map(|row| row.meaning)
    };
    find(answer.code).or_else(|| find(class)).unwrap_or(UNKNOWN)
}

/// What a server's error means for an action.
pub fn failure(action: &str, answer: &Answer<'_>) -> Failure {
    let found = meaning(answer);
    let known = TABLE.iter().any(|row| row.codes.iter().any(|code| answer.code.starts_with(code)));
    // the code is the raiser's choice: it says whether to try again, not what is wrong with our settings
    let elsewhere = |other: Meaning, detail: String| {
        let passes = known && found.class == Class::Transient;
        let (class, reason) = if passes {
            (Class::Transient, Reason::DatabaseFailed)
        } else {
            (other.class, other.reason)
        };
        of(class, reason, format!("{action}: {}{detail}", other.what), other.remedy)
    };
    match answer.origin() {
        Origin::Function => elsewhere(RAISED, answer.named()),
        Origin::Foreign => {
            let (code, shape) = REMOTE_SHAPE;
            let fits = answer.code == code
                && answer.file == Some("connection.c")
                && has_shape(answer.message, shape);
            let words = if fits { format!(": {}", short(answer.message)) } else { String::new() };
            elsewhere(REMOTE, words + &answer.named())
        }
        Origin::Server | Origin::Other => {
            let words = answer.shown(found.shows).map(|words| format!(": {words}"));
            let withheld = words.is_none()
                && found.shows == Shows::Named
                && answer.position == Position::Function;
            let rest = if withheld { WITHHELD } else { "" };
            found.failure(action, &(words.unwrap_or_default() + &answer.named() + rest))
        }
    }
}
