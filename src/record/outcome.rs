//! The outcome of a batch that was sent: decided by the forward stage, stored by the spool.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// PostHog stored every record of the batch.
    Delivered,
    /// PostHog refused the content of the batch's only record.
    DeadLettered {
        /// The status and the server's words.
        words: String,
    },
    /// No record was stored; all stay in the queue.
    Kept,
    /// No answer tells whether the records were stored; they stay in the queue and go out again
    /// together.
    Uncertain,
}
