//! How often each kind of trouble is drawn.

macro_rules! dials {
    ($($(#[$doc:meta])* $name:ident = $text:literal $weight:literal,)*) => {
        /// A kind of trouble that a seed may bring.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Dial { $($(#[$doc])* $name,)* }

        impl Dial {
            /// Every dial.
            pub const ALL: &[Dial] = &[$(Dial::$name),*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Dial::$name => $text),* }
            }

            fn usual(self) -> u32 {
                match self { $(Dial::$name => $weight),* }
            }
        }
    };
}

dials! {
    /// The daemon dies at any point.
    Crash = "crash" 12,
    /// The daemon is restarted politely.
    Restart = "restart" 3,
    /// A second daemon is started on the store.
    Second = "second" 1,
    /// The store comes back without the rows of runners.
    Rows = "rows" 1,
    /// GitHub answers with errors.
    GithubErrors = "github-errors" 6,
    /// Requests and answers are lost.
    GithubLost = "github-lost" 8,
    /// Answers are late, requests overtake each other, or are executed twice.
    GithubLate = "github-late" 8,
    /// GitHub refuses our credential or tokens.
    GithubTokens = "github-tokens" 3,
    /// Rate limits.
    GithubLimits = "github-limits" 3,
    /// Sessions are refused or lost.
    GithubSessions = "github-sessions" 4,
    /// Messages without what they should tell, with what they should not, or with wrong statistics.
    GithubMessages = "github-messages" 8,
    /// Scale sets vanish.
    GithubSets = "github-sets" 1,
    /// Somebody else has a scale set of a pool's name, or a session on its set.
    Foreign = "foreign" 2,
    /// Somebody else opens a session on a pool's set, polls, and takes the messages.
    ForeignPolls = "foreign-polls" 2,
    /// Signing in as an App is refused, or fails.
    GithubApp = "github-app" 3,
    /// Registrations vanish.
    GithubRunners = "github-runners" 4,
    /// Nobody reaches GitHub for minutes or hours.
    GithubOutage = "github-outage" 2,
    /// GitHub calls a job over that is not.
    GithubCalledOver = "github-called-over" 2,
    /// Users cancel and run again.
    UserJobs = "user-jobs" 6,
    /// Jobs run longer than the user's own limit.
    UserLongJobs = "user-long-jobs" 2,
    /// Users drain, undrain and remove.
    UserRunners = "user-runners" 4,
    /// Users delete pools.
    UserPools = "user-pools" 1,
    /// A pool's image, setup or runner program is another one from now on.
    UserImages = "user-images" 3,
    /// Creates are refused.
    EngineRefuses = "engine-refuses" 5,
    /// Calls hang, or their answer is lost.
    EngineLost = "engine-lost" 7,
    /// Creates happen late or twice.
    EngineTwice = "engine-twice" 3,
    /// Instances boot late or never.
    EngineBoots = "engine-boots" 4,
    /// Instances die.
    EngineDies = "engine-dies" 5,
    /// Instances can't be destroyed for a while.
    EngineKeeps = "engine-keeps" 3,
    /// Lists are stale or partial.
    EngineLists = "engine-lists" 3,
    /// Events are lost, streams break.
    EngineEvents = "engine-events" 6,
    /// An engine is away, or its host restarts.
    EngineAway = "engine-away" 2,
    /// The disk is full.
    Disk = "disk" 3,
}

/// A weight for each dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dials {
    weights: Vec<u32>,
}

impl Default for Dials {
    fn default() -> Self {
        Self { weights: Dial::ALL.iter().map(|dial| dial.usual()).collect() }
    }
}

impl Dials {
    /// No trouble at all.
    #[must_use]
    pub fn none() -> Self {
        Self { weights: vec![0; Dial::ALL.len()] }
    }

    /// The same dials with one of them set.
    #[must_use]
    pub fn with(mut self, dial: Dial, weight: u32) -> Self {
        self.weights[dial as usize] = weight;
        self
    }

    /// How often a dial is drawn, relative to the others.
    #[must_use]
    pub fn weight(&self, dial: Dial) -> u32 {
        self.weights[dial as usize]
    }

    /// Draws a dial; `None` where all are 0.
    pub(crate) fn draw(&self, rng: &mut fastrand::Rng) -> Option<Dial> {
        let all: u32 = self.weights.iter().sum();
        if all == 0 {
            return None;
        }
        let mut at = rng.u32(..all);
        Dial::ALL.iter().copied().find(|dial| {
            let weight = self.weight(*dial);
            let here = at < weight;
            at = at.saturating_sub(weight);
            here
        })
    }
}
