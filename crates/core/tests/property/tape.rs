//! Choices, from a list that proptest makes and shrinks.

/// A tape of choices. Past its end every choice is 0.
#[derive(Debug)]
pub struct Tape {
    choices: Vec<u16>,
    next: usize,
}

impl Tape {
    pub fn new(choices: Vec<u16>) -> Self {
        Self { choices, next: 0 }
    }

    pub fn is_over(&self) -> bool {
        self.next >= self.choices.len()
    }

    /// One of `count` things; of none, the first.
    pub fn pick(&mut self, count: usize) -> usize {
        let choice = self.choices.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        usize::from(choice) % count.max(1)
    }

    /// Whether something of this chance in a hundred happens.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.pick(100) >= 100 - percent
    }
}
