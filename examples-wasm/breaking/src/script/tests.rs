use super::parse::Place;
use super::*;
use std::time::Duration;

const BEFORE_ADD: Place<'_> = Place { verb: "ADD", after: false, chaos: true };
const AFTER_ADD: Place<'_> = Place { after: true, ..BEFORE_ADD };

fn script(text: &str) -> Script {
    parse(text, BEFORE_ADD).unwrap_or_else(|wrong| panic!("{text}: {wrong}"))
}

fn luck(seed: u64) -> Luck<'static> {
    Luck { seed, key: "pod/u1/ADD/before" }
}

/// Who acts at each of the first attempts, by the terms' places.
fn acts(text: &str, attempts: u64) -> Vec<Option<usize>> {
    let script = script(text);
    (1..=attempts).map(|attempt| script.at(attempt, luck(7)).map(|it| it.term)).collect()
}

#[test]
fn terms_act_one_after_the_other() {
    assert_eq!(acts("1*error(a)->2*delay(1)->off", 5), [Some(0), Some(1), Some(1), None, None]);
    assert_eq!(acts("1*off->1*panic(sorry)", 4), [None, Some(1), None, None]);
    assert_eq!(acts("error", 3), [Some(0); 3]);
    assert_eq!(acts("0*error->print(x)", 2), [Some(1); 2]);
    assert_eq!(acts("every(3):error", 7), [None, None, Some(0), None, None, Some(0), None]);
    assert_eq!(acts("every(2):2*error->print(x)", 6), [Some(1), Some(0), Some(1), Some(0), Some(1), Some(1)]);
    assert_eq!(acts("2*off->every(2):error", 6), [None, None, None, Some(1), None, Some(1)]);
    assert_eq!(acts("0%error->100%print(x)", 2), [Some(1); 2]);
}

#[test]
fn what_is_drawn_is_drawn_again_and_not_more_often_than_it_may() {
    let hits = |text: &str, seed: u64, attempts: u64| -> Vec<u64> {
        let script = script(text);
        (1..=attempts).filter(|attempt| script.at(*attempt, luck(seed)).is_some()).collect()
    };
    let once = hits("5%error", 7, 10_000);
    // Three standard deviations of 10,000 draws at 5 % are 65.
    assert!((435..=565).contains(&once.len()), "{}", once.len());
    assert_eq!(once, hits("5%error", 7, 10_000));
    assert_ne!(once, hits("5%error", 8, 10_000));
    assert_eq!(hits("5%3*error", 7, 1_000), once[..3]);
    let rare = hits("0.5%error", 7, 10_000).len();
    assert!((29..=71).contains(&rare), "{rare}");
}

/// A unit test is not wasm, whose words have half the bits.
#[test]
fn a_draw_is_the_same_on_every_machine() {
    assert_eq!(luck(7).draw(3, 1), 4_325_102_066_591_567_025);
}

#[test]
fn what_is_left_out_of_a_replay_makes_no_difference() {
    let terms = [
        "2*error",
        "3*off",
        "0*error",
        "off",
        "every(3):error",
        "every(2):2*print(x)",
        "30%error",
        "50%2*error",
        "every(2):40%off",
        "1*print(x)",
        "error",
    ];
    for number in 0..3_000_u64 {
        let term = |index| terms[usize::try_from(luck(3).draw(number, index) % terms.len() as u64).unwrap()];
        let text = (0..4).map(term).collect::<Vec<_>>().join("->");
        let script = script(&text);
        let (seen, used) = (vec![0; 4], vec![0; 4]);
        let mut all = Replay { script: &script, luck: luck(7), seen, used };
        let mut is_over = false;
        for attempt in 1..=25 {
            let turn = all.turn(attempt).filter(|it| script.0[*it].action != Action::Off);
            assert_eq!(script.at(attempt, luck(7)).map(|it| it.term), turn, "{text}, attempt {attempt}");
            assert!(!is_over || turn.is_none(), "{text} was over before attempt {attempt}");
            is_over = script.is_over_after(attempt);
        }
    }
}

#[test]
fn a_large_number_of_attempts_is_not_gone_through() {
    let script = script("3*error->10%error(x)->off");
    assert!(script.at(u64::MAX, luck(0)).is_none_or(|it| it.term == 1));
    assert_eq!(script.at(3, luck(0)).unwrap().term, 0);
}

#[test]
fn what_is_over_is_known() {
    for (text, attempt, over) in [
        ("2*error->off", 1, false),
        ("2*error->off", 2, true),
        ("2*error", 2, true),
        ("1*error->2*delay(1)", 2, false),
        ("error", 9, false),
        ("5%error", 9, false),
        ("off->error", 1, true),
    ] {
        assert_eq!(script(text).is_over_after(attempt), over, "{text} {attempt}");
    }
}

#[test]
fn whatever_is_read_is_printed_as_what_is_read_again() {
    for text in [
        "1*error(try-again)->2*delay(200ms)->10%error(5:oops)->off",
        "every(3):0.0001%2*delay(1000ms-3000ms)",
        "error(7:no \\(really\\):see \\\\ there)",
        "hang->signal(KILL, keep)->garbage->truncated(keep)->empty->panic(sorry)->lie->print(hello)",
    ] {
        assert_eq!(script(text).to_string(), text);
    }
    let after = "address(10.9.9.9/24)->no-ips->no-interface->link-down->done-but-failed(11:again)";
    assert_eq!(parse(after, AFTER_ADD).unwrap().to_string(), after);
    for (text, same) in [
        ("return(x)", "error(x)"),
        ("error", "error()"),
        ("sleep(1.5s)", "delay(1500ms)"),
        ("delay(1s-3s)", "delay(1000ms-3000ms)"),
        ("pause", "hang"),
        (" 1 * error(a) -> off ", ""),
        ("1*error(a) -> off ", "1*error(a)->off"),
        ("signal(9)", "signal(KILL)"),
        ("signal(SIGSEGV,keep)", "signal(SEGV, keep)"),
        ("error(a (b) c)", "error(a \\(b\\) c)"),
        ("50%1*error", "50%1*error()"),
        ("1*50%error", "50%1*error()"),
    ] {
        let read = parse(text, BEFORE_ADD).map(|it| it.to_string()).unwrap_or_default();
        assert_eq!(read, same, "{text}");
    }
}

#[test]
fn what_an_action_holds_is_what_was_written() {
    let action = |text: &str| script(text).0.remove(0).action;
    let error = |code, msg: &str, details: Option<&str>| {
        Action::Error(Said { code, msg: msg.into(), details: details.map(str::to_owned) })
    };
    assert_eq!(action("error(5:a:b:c)"), error(5, "a", Some("b:c")));
    assert_eq!(action("error(try: again)"), error(999, "try: again", None));
    assert_eq!(action("error(0:x)"), error(999, "0:x", None));
    assert_eq!(action("delay(2m)"), Action::Delay(Duration::from_mins(2), Duration::from_mins(2)));
}

#[test]
fn a_mistake_is_told_with_its_column_and_the_remedy() {
    let before_del = Place { verb: "DEL", ..BEFORE_ADD };
    let plain = Place { chaos: false, ..BEFORE_ADD };
    for (text, place, told) in [
        (
            "",
            BEFORE_ADD,
            "column 1: it ends, where an action such as `error(oops)`, `delay(200ms)` or `off` should be",
        ),
        ("1*eror(x)", BEFORE_ADD, "column 3: \"eror\" is no action; did you mean \"error\"?"),
        (
            "off->->off",
            BEFORE_ADD,
            "column 6: \"->off\", where an action such as `error(oops)`, `delay(200ms)` or `off` should be",
        ),
        ("off error", BEFORE_ADD, "column 5: \"error\": write `->` between terms"),
        ("error(x", BEFORE_ADD, "column 7: a parenthesis that is not closed"),
        ("3error", BEFORE_ADD, "column 2: 3: write `3*` for how many times, or `3%` for how often"),
        ("101%error", BEFORE_ADD, "column 5: 101%: write 0 to 100, with at most four decimals"),
        ("5%5%error", BEFORE_ADD, "column 5: 5%: `%` stands there already: keep one of them"),
        ("2*3*error", BEFORE_ADD, "column 5: 3*: `*` stands there already: keep one of them"),
        ("5%every(3):error", BEFORE_ADD, "column 3: write `every(…):` first, in front of `*` and `%`"),
        ("0.00001%error", BEFORE_ADD, "column 9: 0.00001%: write 0 to 100, with at most four decimals"),
        (
            "every(0):error",
            BEFORE_ADD,
            "column 8: every(0: write how many attempts, such as `every(3):error`",
        ),
        ("off(x)", BEFORE_ADD, "column 1: `off` takes nothing in parentheses, and \"x\" stands there"),
        ("delay(soon)", BEFORE_ADD, "column 1: \"soon\": write a time such as 200ms, 1.5s, 2m or 24h"),
        ("delay(3s-1s)", BEFORE_ADD, "column 1: \"3s-1s\": from more to less"),
        (
            "no-ips",
            BEFORE_ADD,
            "column 1: `no-ips` is about what ADD has made: write it as `\"ADD\": { \"after\": … }`",
        ),
        ("lie", before_del, "column 1: `lie` takes the plugin's place: before ADD, CHECK or STATUS"),
        ("off->hang", plain, "column 6: `hang` takes the module \"chaos\", and the grant \"chaos\""),
        (
            "signal(CHLD)",
            BEFORE_ADD,
            "column 1: \"CHLD\" is no signal that ends a process; write one of HUP, INT, QUIT, ILL, TRAP, ABRT, BUS, FPE, KILL, SEGV, PIPE, ALRM, TERM",
        ),
        ("garbage(now)", BEFORE_ADD, "column 1: `garbage` takes `keep` or nothing, and \"now\" stands there"),
        ("address(10.9.9)", AFTER_ADD, "column 1: \"10.9.9\": write an address such as 10.9.9.9/24"),
    ] {
        assert_eq!(parse(text, place).unwrap_err(), told, "{text}");
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    let pieces = [
        "1*", "%", "error(", ")", "->", "-", "every(", "):", "off", "\\", "ü", " ", "9.9%", "delay(", "(",
        "0",
    ];
    let luck = luck(1);
    for number in 0..60_000_u64 {
        let mut text = String::new();
        for index in 0..(number % 9) {
            let draw = luck.draw(number, usize::try_from(index).unwrap());
            text.push_str(pieces[usize::try_from(draw % pieces.len() as u64).unwrap()]);
        }
        if let Ok(script) = parse(&text, BEFORE_ADD) {
            let printed = script.to_string();
            assert_eq!(parse(&printed, BEFORE_ADD).unwrap(), script, "{text} {printed}");
            let _ = script.at(number + 1, luck);
        }
    }
}
