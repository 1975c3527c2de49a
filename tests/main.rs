//! What salver promises, held against the program: one module a promise, named as a sentence, by
//! stage.
//!
//! Run one with `cargo test --test promises SENTENCE`; CONTRIBUTING.md lists the long runs and what
//! some tests need.

#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "some of it serves tests of Linux only"))]
mod support;

mod detect {
    mod a_change_is_noticed_wherever_it_happens;
    mod each_change_is_recorded_once;
    mod what_no_event_tells_is_found_all_the_same;
    mod whatever_an_editor_does_is_one_change;
}

mod record {
    mod a_cut_off_file_never_costs_the_backlog;
    mod a_fixture_is_reported_as_its_expected_file_says;
    mod a_real_config_file_is_reported_as_the_real_tool_did;
    mod a_record_comes_after_an_interval;
    mod a_service_is_added_without_a_line_of_rust;
    mod any_config_of_any_release_is_reported_as_the_map_foretells;
    mod each_generation_reports_what_the_map_says_of_it;
    mod nobody_is_reported_without_consent;
    mod several_files_are_one_config;
}

mod identity {
    mod a_copied_spool_gets_ids_of_its_own;
    mod a_delivered_id_stays;
    mod every_id_ever_used_can_be_quoted;
    mod the_id_is_the_tools_own;
    mod what_makes_the_id_is_kept_and_said_nowhere;
}

mod privacy {
    mod a_leak_put_in_by_hand_is_found;
    mod nothing_but_the_catalogue_leaves;
    mod what_cannot_be_read_is_not_quoted;
}

mod spool {
    mod a_damaged_spool_says_what_is_gone;
    mod a_disk_that_is_full_or_gone_costs_nothing;
    mod a_drained_spool_is_small;
    mod a_kill_in_the_middle_of_a_step_undoes_or_finishes_it;
    mod a_kill_loses_nothing_acknowledged;
    mod a_long_dump_and_its_neighbours_leave_each_other_alone;
    mod a_long_layout_is_stored_with_its_record;
    mod a_power_cut_loses_nothing_acknowledged;
    mod a_read_only_spool_can_still_be_read;
    mod a_spool_of_every_format_can_be_read;
    mod a_spool_that_is_not_the_one_from_before_is_noticed;
    mod a_wrong_clock_is_said_and_costs_no_record;
    mod an_overlay_is_no_trouble;
    mod any_damage_ends_in_a_clear_outcome;
    mod eight_at_once_lose_and_double_nothing;
    mod erased_means_gone_from_the_disk;
    mod no_operation_that_fails_costs_a_record;
    mod the_limits_take_the_oldest_and_say_so;
    mod the_spool_behaves_like_a_plain_list;
    mod the_spool_is_for_its_owner_alone;
    mod what_is_on_a_full_disk_can_be_seen_delivered_and_erased;
    mod what_left_does_not_come_in_again;
    mod whoever_comes_first_to_the_spool_goes_first;
}

mod forward {
    mod a_bad_line_and_kills_lose_nothing;
    mod a_fleet_that_comes_back_does_not_arrive_at_once;
    mod a_flush_lets_others_in_between_two_batches;
    mod a_flush_tells_what_became_of_the_records;
    mod a_line_too_weak_for_a_full_batch_is_drained;
    mod a_proxy_carries_the_records_and_its_password_is_told_to_nobody_else;
    mod every_record_arrives_once;
    mod no_answer_loses_a_record;
    mod what_is_shown_is_what_is_sent;
    mod what_is_taken_back_during_a_flush_does_not_go_out;
    mod whatever_posthog_answers_each_record_has_one_fate;
    mod whatever_the_line_does_each_record_arrives_once;
}

mod service {
    mod an_idle_service_is_one_quiet_process;
    mod settings_are_applied_without_a_restart;
    mod the_log_tells_each_thing_once;
}

mod cli {
    mod a_try_out_needs_no_settings;
    mod an_exit_code_says_how_a_command_ended;
    mod bad_input_gets_a_clear_error_and_nothing_is_lost;
    mod every_word_an_admin_reads_is_changed_on_purpose;
    mod the_command_line_is_a_contract;
    mod the_doctor_names_what_is_wrong;
    mod what_waits_can_be_seen_in_every_form;
    mod what_was_collected_can_be_taken_back_by_hand;
}

mod source {
    mod modules_import_in_one_direction;
}
