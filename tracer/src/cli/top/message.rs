//! What the thread that has the terminal has to know.

use std::io;

use crate::output::top::Key;

/// Something that changes what is on the screen.
pub(super) enum Message {
    /// A key was pressed.
    Key(Key),
    /// There is a new view.
    View,
    /// The terminal has another size.
    Resize,
    /// The program is to be stopped (SIGTSTP).
    Suspend,
    /// The program goes on (SIGCONT): the terminal may have been used otherwise meanwhile.
    Continued,
    /// No more keys will come: the terminal is gone, or cannot be read.
    Gone(Option<io::Error>),
    /// The terminal is to be left as it was.
    End,
}
