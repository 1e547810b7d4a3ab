use crate::door::{HostDoor, SharedDoor, admits};
use crate::entry::HookSpec;
use crate::error::{HookFailure, Why};
use crate::modules::{ModuleError, Modules};
use crate::settings::{Room, Settings};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmhook_cni::Verb;
use wasmhook_host::{Clock, Most, Plugins, Reach, SharedEnding, Trail, Visit};
use wasmhook_net_types::Model;
use wasmhook_store::{Artifact, FaultSwitch, Journals, Key, State};
use wasmhook_wasm::{
    Admission, Arrival, Fault, Isolation, Limits, Outside, Phase, Question, Request, Rooms, Traits, Usage,
    Verdict, expect_guests,
};

/// How long a GC waits to forget what is left over.
const SWEEP_WITHIN: Duration = Duration::from_secs(2);

/// Brings hooks into the guests' rooms.
#[derive(Debug)]
pub struct Guests<'a> {
    modules: Modules<'a>,
    room: Room,
    /// With `isolation = "call"`: all hooks of the call.
    together: RefCell<Option<Together>>,
    /// What all of them together may still take.
    left: Cell<Duration>,
    budget: Duration,
    node: Node,
    /// For hooks that change nothing at all.
    watched: OnceCell<Node>,
    /// Where what hooks do is written down.
    trail: RefCell<Option<Arc<Mutex<dyn Trail>>>>,
    /// With what hooks may run other plugins.
    plugins: RefCell<Option<Arc<Mutex<dyn Plugins>>>>,
    /// The hooks that have made or changed something, by their places.
    done: RefCell<BTreeSet<usize>>,
    switch: FaultSwitch,
    faults_are_off: OnceCell<bool>,
}

/// What host calls need of a node.
#[derive(Clone, Debug)]
struct Node {
    clock: Clock,
    seed: u64,
    metrics: Option<PathBuf>,
    state: Arc<Mutex<State>>,
    state_quota: u64,
    reach: Arc<Mutex<Reach>>,
    /// Which of our entries a call is about, for what belongs to its attachment.
    entry: String,
    ending: SharedEnding,
}

/// A hook that has been let in for this plugin call, or not yet.
#[derive(Debug, Default)]
pub struct Seat {
    rooms: Option<Rooms>,
    /// What its module says of itself, once that is known.
    traits: Traits,
}

/// All hooks of a call, in one child.
#[derive(Debug)]
struct Together {
    rooms: Rooms,
    /// Each hook's number among those that could be let in, and when it has something to do.
    guests: Vec<Option<(usize, Traits)>>,
}

/// One phase of one hook of a list.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The list.
    pub hooks: &'a [HookSpec],
    /// Which of them.
    pub index: usize,
    /// `CNI_COMMAND`.
    pub verb: Verb,
    /// Before the plugin, or after.
    pub phase: &'a Phase,
}

/// What a visit came to.
#[derive(Debug)]
pub struct Visited {
    /// What the hook wants.
    pub verdict: Verdict,
    /// JSON that it leaves for its next phase.
    pub carry: Option<String>,
    /// What it cost.
    pub usage: Usage,
    /// How long other plugins were at work for it.
    pub elsewhere: Duration,
}

impl Visited {
    /// Nobody was asked, who has nothing to do.
    fn nothing(phase: &Phase) -> Self {
        let (usage, elsewhere) = Default::default();
        Self { verdict: phase.nothing(), carry: None, usage, elsewhere }
    }
}

impl Node {
    fn without_effects(self, reach: Reach) -> Self {
        let state = Arc::new(Mutex::new(State::in_memory(self.state_quota)));
        let reach = Arc::new(Mutex::new(reach));
        let ending = SharedEnding::default();
        Self { clock: Clock::virtual_time(), metrics: None, state, reach, ending, ..self }
    }
}

impl<'a> Guests<'a> {
    /// For a node with these settings, and these hooks.
    #[must_use]
    pub fn new(settings: &'a Settings, hooks: &[HookSpec]) -> Self {
        if settings.isolation == Room::None {
            expect_guests(hooks.iter().filter(|hook| hook.selected).map(|hook| hook.limits));
        }
        let budget = settings.budgets.hooks;
        Self {
            modules: Modules::new(settings),
            room: settings.isolation,
            together: RefCell::new(None),
            left: Cell::new(budget),
            budget,
            node: Node {
                clock: Clock::default(),
                seed: settings.seed,
                metrics: settings.metrics.clone(),
                state: Arc::new(Mutex::new(State::new(&settings.state, settings.state_quota))),
                state_quota: settings.state_quota,
                reach: Arc::new(Mutex::new(Reach::kernel(""))),
                entry: String::new(),
                ending: SharedEnding::default(),
            },
            watched: OnceCell::new(),
            trail: RefCell::new(None),
            plugins: RefCell::new(None),
            done: RefCell::default(),
            switch: FaultSwitch::of(&settings.state),
            faults_are_off: OnceCell::new(),
        }
    }

    /// For calls that are about this one of our entries.
    #[must_use]
    pub fn for_entry(mut self, id: &str) -> Self {
        id.clone_into(&mut self.node.entry);
        self
    }

    /// Hooks say here how the call ends, if not as it should.
    pub(crate) fn end_by(mut self, ending: &SharedEnding) -> Self {
        self.node.ending = ending.clone();
        self
    }

    /// How the call ends, if not as it should.
    pub(crate) fn ending(&self) -> &SharedEnding {
        &self.node.ending
    }

    /// Nothing that hooks do happens: nobody sleeps, nothing is counted, what is remembered goes with this, and the
    /// networks are in memory.
    #[must_use]
    pub fn without_effects(mut self, network: Model) -> Self {
        self.node = self.node.without_effects(Reach::model(network));
        self
    }

    /// What hooks have made of the networks in memory.
    #[must_use]
    pub fn network(&self) -> Option<Model> {
        self.node.reach.lock().unwrap_or_else(PoisonError::into_inner).in_memory().map(|it| it.clone())
    }

    /// The networks that hooks meet from now on.
    pub(crate) fn reach(&self, networks: Reach) {
        *self.node.reach.lock().unwrap_or_else(PoisonError::into_inner) = networks;
    }

    /// Hooks may run other plugins from now on.
    pub(crate) fn may_run(&self, plugins: impl Plugins + 'static) {
        *self.plugins.borrow_mut() = Some(Arc::new(Mutex::new(plugins)));
    }

    /// Has this hook made or changed something?
    pub(crate) fn has_done(&self, index: usize) -> bool {
        self.done.borrow().contains(&index)
    }

    fn held(&self) -> u64 {
        let trail = self.trail.borrow();
        trail.as_ref().map_or(0, |it| it.lock().unwrap_or_else(PoisonError::into_inner).held(|_| true))
    }

    /// What hooks do from now on is written down here.
    pub(crate) fn follow(&self, trail: Arc<Mutex<dyn Trail>>) {
        *self.trail.borrow_mut() = Some(trail);
    }

    /// What hooks remember of attachments that have no journal any more is forgotten.
    pub(crate) fn sweep(&self, journals: &Journals) {
        let mut state = self.node.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.sweep(journals, Instant::now() + SWEEP_WITHIN) {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "forgot what hooks remembered of attachments that are gone"),
            Err(error) => tracing::error!("{error}"),
        }
    }

    /// One phase of one hook, not longer than `left`. The guest keeps its seat until the next.
    pub fn visit(
        &self,
        asking: &Asking<'_>,
        seat: &mut Seat,
        left: Duration,
    ) -> Result<Visited, HookFailure> {
        let started = Instant::now();
        let own = asking.hook().limits.wall;
        let wall = own.min(left).min(self.left.get());
        // Whose time is over, where it is not the hook's own.
        let over = || if self.left.get() < left { Why::Hooks(self.budget) } else { Why::Budget(wall) };
        let held = self.held();
        let visited = if wall.is_zero() { Err(over()) } else { self.try_visit(asking, seat, wall) };
        if self.held() > held {
            self.done.borrow_mut().insert(asking.index);
        }
        let visited = visited.map_err(|why| match why {
            Why::Fault(Fault::Wall(_)) if wall < own => asking.failure(over()),
            why => asking.failure(why),
        });
        let elsewhere = visited.as_ref().map_or(Duration::ZERO, |visited| visited.elsewhere);
        self.left.set(self.left.get().saturating_sub(started.elapsed().saturating_sub(elsewhere)));
        visited
    }

    /// The same for a hook whose compiled module is at hand.
    pub fn visit_with(
        &self,
        asking: &Asking<'_>,
        seat: &mut Seat,
        artifact: &File,
    ) -> Result<Visited, HookFailure> {
        let wall = asking.hook().limits.wall;
        self.enter_and_ask(asking, seat, artifact, wall).map_err(|fault| asking.failure(fault.into()))
    }

    /// Could this hook be let in? Whoever is not met is looked for all the same where an ADD needs it.
    pub(crate) fn look_for(&self, hooks: &[HookSpec], index: usize) -> Result<(), HookFailure> {
        let hook = &hooks[index];
        let failure =
            |why: Why| HookFailure { hook: hook.name.clone(), at: hook.at.clone(), phase: "pre", why };
        match self.modules.artifact(hook, Verb::Status) {
            Ok(_) | Err(ModuleError::NotCompiled { .. }) => Ok(()),
            Err(error) => Err(failure(error.into())),
        }
    }

    fn try_visit(&self, asking: &Asking<'_>, seat: &mut Seat, wall: Duration) -> Result<Visited, Why> {
        if self.room == Room::Call
            && let Some(visited) = self.visit_together(asking, wall)?
        {
            return Ok(visited);
        }
        if seat.rooms.is_some() && self.has_nothing_to_do(asking, seat.traits) {
            return Ok(Visited::nothing(asking.phase));
        }
        if seat.rooms.is_some() {
            return Ok(ask(asking, &mut seat.rooms, 0, (wall, self.visit_of(asking, wall)))?);
        }
        let hook = asking.hook();
        let Artifact { file, module: digest, traits } = self.modules.artifact(hook, asking.verb)?;
        seat.traits = Traits::from_bits(traits);
        if self.has_nothing_to_do(asking, seat.traits) {
            return Ok(Visited::nothing(asking.phase));
        }
        match self.enter_and_ask(asking, seat, &file, wall) {
            Err(Fault::Artifact(why)) => {
                // Any doubt is a miss.
                tracing::warn!(hook = hook.name, %digest, "compiled module not usable, compiling it again: {why}");
                self.modules.store().forget(&digest);
                let artifact = self.modules.artifact(hook, asking.verb)?;
                Ok(self.enter_and_ask(asking, seat, &artifact.file, wall)?)
            }
            visited => Ok(visited?),
        }
    }

    /// In this phase, or while faults are switched off.
    fn has_nothing_to_do(&self, asking: &Asking<'_>, traits: Traits) -> bool {
        let hook = asking.hook();
        let breaks_things = traits.breaks_things() || hook.grants.iter().any(|it| it.interface() == "chaos");
        if breaks_things && *self.faults_are_off.get_or_init(|| self.switch.is_off()) {
            tracing::info!(
                hook = hook.name,
                "skipped: faults are switched off on this node (`wasmhookctl faults on`)"
            );
            return true;
        }
        !traits.have(asking.phase)
    }

    fn visit_of(&self, asking: &Asking<'_>, wall: Duration) -> Visit {
        if asking.hook().monitor {
            let copy = || self.node.clone().without_effects(Reach::copy_of(self.node.reach.clone()));
            return asking.visit(self.watched.get_or_init(copy), None, None, wall);
        }
        asking.visit(&self.node, self.trail.borrow().clone(), self.plugins.borrow().clone(), wall)
    }

    /// Lets the hook in, unless it has its seat already.
    fn enter_and_ask(
        &self,
        asking: &Asking<'_>,
        seat: &mut Seat,
        artifact: &File,
        wall: Duration,
    ) -> Result<Visited, Fault> {
        if seat.rooms.is_none() {
            let hook = asking.hook();
            let admits = admission(hook);
            let arrival = Arrival { artifact, limits: hook.limits, admits: &admits };
            seat.rooms = Some(Rooms::open(&[arrival], self.room.into())?);
        }
        ask(asking, &mut seat.rooms, 0, (wall, self.visit_of(asking, wall)))
    }

    /// In the child that all hooks share. `None` for one that could not be let in with the others: alone it is told why.
    fn visit_together(&self, asking: &Asking<'_>, wall: Duration) -> Result<Option<Visited>, Why> {
        let mut together = self.together.borrow_mut();
        if together.is_none() {
            *together = Some(self.let_all_in(asking)?);
        }
        let Some(Together { rooms, guests }) = together.take() else { return Ok(None) };
        let Some((guest, traits)) = guests.get(asking.index).copied().flatten() else {
            *together = Some(Together { rooms, guests });
            return Ok(None);
        };
        if self.has_nothing_to_do(asking, traits) {
            *together = Some(Together { rooms, guests });
            return Ok(Some(Visited::nothing(asking.phase)));
        }
        let mut rooms = Some(rooms);
        let visited = ask(asking, &mut rooms, guest, (wall, self.visit_of(asking, wall)));
        *together = rooms.map(|rooms| Together { rooms, guests });
        match visited {
            Err(Fault::Artifact(_)) => Ok(None),
            visited => Ok(Some(visited?)),
        }
    }

    fn let_all_in(&self, asking: &Asking<'_>) -> Result<Together, Fault> {
        let find = |hook: &HookSpec| self.modules.artifact(hook, asking.verb).ok();
        let found: Vec<_> =
            asking.hooks.iter().map(|hook| if hook.selected { find(hook) } else { None }).collect();
        let admissions: Vec<_> = asking.hooks.iter().map(admission).collect();
        let mut arrivals = Vec::new();
        let mut guests = Vec::new();
        for ((hook, found), admits) in asking.hooks.iter().zip(&found).zip(&admissions) {
            guests.push(found.as_ref().map(|it| (arrivals.len(), Traits::from_bits(it.traits))));
            arrivals.extend(found.as_ref().map(|found| Arrival {
                artifact: &found.file,
                limits: hook.limits,
                admits,
            }));
        }
        Ok(Together { rooms: Rooms::open(&arrivals, Isolation::Child)?, guests })
    }
}

fn admission(hook: &HookSpec) -> impl Fn(&str, &str) -> Admission + '_ {
    |interface: &str, function: &str| admits(&hook.grants, interface, function)
}

impl Asking<'_> {
    fn hook(&self) -> &HookSpec {
        &self.hooks[self.index]
    }

    fn failure(&self, why: Why) -> HookFailure {
        let hook = self.hook();
        HookFailure { hook: hook.name.clone(), at: hook.at.clone(), phase: self.phase.name(), why }
    }

    fn request(&self) -> &Request {
        let (Phase::Pre(request) | Phase::Post(request, _)) = self.phase;
        request
    }

    /// For WASI: the same for the same hook and pod. No digest, which asks the processor what it can do (0.05 ms).
    fn seed(&self, pod: &str) -> u64 {
        let words =
            [self.hook().name.as_bytes(), b"\0", pod.as_bytes(), self.phase.name().as_bytes()].concat();
        words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// What host calls act on.
    fn visit(
        &self,
        node: &Node,
        trail: Option<Arc<Mutex<dyn Trail>>>,
        plugins: Option<Arc<Mutex<dyn Plugins>>>,
        wall: Duration,
    ) -> Visit {
        let (hook, request) = (self.hook(), self.request());
        let uid = request.args.iter().find(|(key, _)| key == "K8S_POD_UID").map(|(_, uid)| uid);
        let is_about_one = !request.container_id.is_empty();
        let attachment = is_about_one.then(|| Key {
            network: request.network.clone(),
            container_id: request.container_id.clone(),
            ifname: request.ifname.clone(),
            entry: node.entry.clone(),
        });
        Visit {
            hook: hook.name.clone(),
            phase: self.phase.name(),
            verb: self.verb.as_str(),
            container_id: request.container_id.clone(),
            pod: uid.unwrap_or(&request.container_id).clone(),
            network: request.network.clone(),
            ifname: request.ifname.clone(),
            plugin: request.plugin.clone(),
            deadline: node.clock.now() + wall,
            clock: node.clock.clone(),
            carry: None,
            node_seed: node.seed,
            random: None,
            metrics: node.metrics.clone(),
            state: node.state.clone(),
            attachment,
            trail,
            grants: hook.grants.as_slice().into(),
            reach: node.reach.clone(),
            plugins,
            config: request.config.clone(),
            args: request.args.clone(),
            most: Most { links: hook.limits.links, leases: hook.limits.leases },
            ending: node.ending.clone(),
            elsewhere: Duration::ZERO,
        }
    }
}

/// A guest that faulted is not talked to again, and neither are those that share its rooms.
fn ask(
    asking: &Asking<'_>,
    rooms: &mut Option<Rooms>,
    guest: usize,
    (wall, visit): (Duration, Visit),
) -> Result<Visited, Fault> {
    let hook = asking.hook();
    let Some(open) = rooms else { return Err(Fault::Gone) };
    let outside = Outside {
        now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        seed: asking.seed(&visit.pod),
    };
    let limits = Limits { wall, ..hook.limits };
    let question = Question { guest, phase: asking.phase, limits, outside };
    let door = SharedDoor::new(HostDoor::new(hook, visit));
    let report = open.ask(&question, Box::new(door.clone()));
    let usage = report.usage;
    tracing::trace!(hook = hook.name, phase = asking.phase.name(), ?usage, "visited");
    match report.verdict {
        Ok(verdict) => {
            let (carry, elsewhere) = door.with(|door| (door.take_carry(), door.elsewhere()));
            Ok(Visited { verdict, carry, usage, elsewhere })
        }
        Err(fault) => {
            *rooms = None;
            Err(door.with(|door| door.explain(fault)))
        }
    }
}
